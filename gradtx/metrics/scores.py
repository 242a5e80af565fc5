"""Histograms of scores: what is known of a ranking without keeping it."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.loop.metric import Metric
from gradtx.metrics.classes import as_classes, spread
from gradtx.metrics.counts import as_marks, at_least_two
from gradtx.metrics.examples import labelled, ratio, zeros

Average = Literal["macro", "weighted"]


class Scores(NamedTuple):
    """Sums of weights by class and score, the least scores first.

    Args:
        positive: float32[K, bins], of the examples that are of the class.
        negative: float32[K, bins], of the others.
    """

    positive: jax.Array
    negative: jax.Array


def ranked(
    where: str,
    value: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    classes: int,
    bins: int,
    average: Average | None,
    multilabel: bool,
    label: str | int | None,
) -> Metric:
    """A metric that is a function of each class's histogram: (positive, negative) -> float32[].

    Of two classes there is one histogram, of the second class.

    Args:
        where: the metric, for messages.
        value: the function, of float32[bins] both; NaN where it is not defined.
        classes: C.
        bins: of each histogram.
        average: over classes.
        multilabel: whether an example has any number of the classes.
        label: as for `labelled`.
    """
    if not multilabel:
        at_least_two(where, classes)
    classes, bins = int(classes), int(bins)
    if bins < 2:
        raise ValueError(f"{where}: `bins` must be at least 2; got {bins}. Choose about 1000.")
    binary = classes == 2 and not multilabel
    shape = (1 if binary else classes, bins)
    add = partial(_add, where, classes, multilabel)
    compute = partial(_averaged, value, average, binary)
    return labelled(where, lambda: Scores(*zeros(shape, shape)), add, compute, label)


def _add(
    where: str,
    classes: int,
    multilabel: bool,
    state: Scores,
    pred: jax.Array,
    target: jax.Array,
    weight: jax.Array,
) -> Scores:
    if multilabel:
        _, marks, known = as_marks(where, classes, pred, target)
        known = known.all(axis=-1)
        scores = pred.astype(jnp.float32)
    else:
        _, actual = as_classes(where, pred, target, classes)
        known, scores = actual >= 0, _log_odds(pred.astype(jnp.float32), classes)
        if classes == 2:
            scores, marks = scores[..., None], actual[..., None] == 1
        else:
            marks = jax.nn.one_hot(actual, classes, dtype=bool)
    count, bins = state.positive.shape
    weight = spread(weight, known)
    idle = weight == 0
    # What can't be ranked makes all NaN.
    bad = jnp.any((~known | jnp.isnan(scores).any(axis=-1)) & ~idle)
    index = _bin(jnp.where(idle[..., None], 0.0, scores), bins).reshape(-1, count)
    marks, weight = marks.reshape(-1, count), weight.reshape(-1, 1)
    rows = jnp.broadcast_to(jnp.arange(count), index.shape)
    into = lambda sums, chosen: sums.at[rows, index].add(jnp.where(chosen, weight, 0))
    new = Scores(into(state.positive, marks), into(state.negative, ~marks))
    return jax.tree.map(lambda x: jnp.where(bad, jnp.nan, x), new)


def _log_odds(pred: jax.Array, classes: int) -> jax.Array:
    """log p / (1 - p) of each class under the softmax; of two classes of the second alone."""
    if classes == 2:
        return pred[..., 1] - pred[..., 0] if pred.ndim > 1 and pred.shape[-1] == 2 else pred
    without = lambda c: jax.nn.logsumexp(pred, axis=-1, where=jnp.arange(classes) != c)
    others = jax.vmap(without, out_axes=-1)(jnp.arange(classes))
    return pred - others


def _bin(scores: jax.Array, bins: int) -> jax.Array:
    """Bins of equal width in z / (1 + |z|): narrow about 0, and none is beyond the last."""
    size = jnp.abs(scores)
    inside = jnp.where(jnp.isinf(scores), jnp.sign(scores), scores / (1 + size))
    return jnp.clip(jnp.floor((inside + 1) * (bins / 2)).astype(jnp.int32), 0, bins - 1)


def _averaged(
    value: Callable[[jax.Array, jax.Array], jax.Array],
    average: Average | None,
    binary: bool,
    scores: Scores,
) -> jax.Array:
    each = jax.vmap(value)(scores.positive, scores.negative)
    if binary:
        return each[0]
    if average is None:
        return each
    bad = jnp.isnan(scores.positive).any()
    there = ~jnp.isnan(each)
    by = scores.positive.sum(axis=1) if average == "weighted" else jnp.ones(each.shape)
    by = jnp.where(there, by, 0)
    mean = ratio(jnp.sum(by * jnp.where(there, each, 0)), jnp.sum(by))
    return jnp.where(bad, jnp.nan, mean)


def known(positive: jax.Array, negative: jax.Array, value: jax.Array) -> jax.Array:
    """`value`, and NaN unless there are examples of both kinds.

    Args:
        positive: float32[bins].
        negative: float32[bins].
        value: float32[].
    """
    return jnp.where((positive.sum() > 0) & (negative.sum() > 0), value, jnp.nan)
