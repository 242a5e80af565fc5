"""What most metrics of classes are made of: how often each is right, predicted, and there."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.loop.metric import Metric
from gradtx.metrics.classes import as_classes, spread
from gradtx.metrics.examples import labelled, ratio, zeros

Average = Literal["macro", "micro", "weighted", "binary"]


class Counts(NamedTuple):
    """Sums of weights: of each of C classes, and of all examples.

    Args:
        hits: float32[C], where it is there and predicted.
        predicted: float32[C], where it is predicted.
        actual: float32[C], where it is there.
        total: float32[], of all; NaN once a label was outside 0..C-1.
    """

    hits: jax.Array
    predicted: jax.Array
    actual: jax.Array
    total: jax.Array


def counted(
    where: str,
    compute: Callable[[Counts], jax.Array],
    *,
    classes: int,
    label: str | int | None,
    multilabel: bool = False,
) -> Metric:
    """A metric that is a function of `Counts`.

    Args:
        where: the metric, for messages.
        compute: the function.
        classes: C.
        label: as for `labelled`.
        multilabel: whether an example has any number of the classes.
    """
    classes = int(classes)
    init = lambda: Counts(*zeros((classes,), (classes,), (classes,), ()))
    add = partial(_add_labels if multilabel else _add_classes, where, classes)
    return labelled(where, init, add, compute, label)


def _add_classes(
    where: str, classes: int, state: Counts, pred: jax.Array, target: jax.Array, weight: jax.Array
) -> Counts:
    predicted, actual = as_classes(where, pred, target, classes)
    weight = spread(weight, actual)
    total = jnp.sum(jnp.where((actual < 0) & (weight != 0), jnp.nan, weight))
    # What has no class goes nowhere: XLA drops an index out of range.
    at = lambda sums, index: sums.at[jnp.where(index < 0, classes, index)].add(weight, mode="drop")
    right = jnp.where(predicted == actual, actual, -1)
    return Counts(
        at(state.hits, right),
        at(state.predicted, predicted),
        at(state.actual, actual),
        state.total + total,
    )


def _add_labels(
    where: str, classes: int, state: Counts, pred: jax.Array, target: jax.Array, weight: jax.Array
) -> Counts:
    predicted, actual, known = as_marks(where, classes, pred, target)
    over = tuple(range(predicted.ndim - 1))
    weight = spread(weight, predicted)
    sums = lambda marks: jnp.sum(jnp.where(marks, weight, 0), axis=over)
    unknown = jnp.any(~known & (weight != 0))
    return Counts(
        state.hits + sums(predicted & actual),
        state.predicted + sums(predicted),
        state.actual + sums(actual),
        state.total + jnp.where(unknown, jnp.nan, jnp.sum(weight[..., 0])),
    )


def as_marks(
    where: str, classes: int, pred: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which classes are predicted of each example, and which it has: bool[B, ..., C] both.

        predicted = pred > 0, of logits; the wrong answer where one is NaN

    The third, bool[B, ..., C], says where the label is from 0 to 1, so that it means something.

    Args:
        where: the metric, for messages.
        classes: C.
        pred: the predictions.
        target: 0 and 1, of any dtype.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    if pred.ndim < 2 or pred.shape != target.shape or pred.shape[-1] != classes:
        raise ValueError(
            f"{where}: with `multilabel` `pred` and the label must be [B, ..., {classes}] both; got"
            f" {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}. Say how many"
            " `classes` there are, or leave `multilabel` out."
        )
    actual = target > 0.5 if jnp.issubdtype(target.dtype, jnp.floating) else target != 0
    share = target.astype(jnp.float32)
    known = (share >= 0) & (share <= 1)
    if jnp.issubdtype(pred.dtype, jnp.floating):
        return jnp.where(jnp.isnan(pred), ~actual, pred > 0), actual, known
    return pred != 0, actual, known


def averaged(
    average: Average | None, part: jax.Array, whole: jax.Array, counts: Counts, empty: float
) -> jax.Array:
    """One number of a ratio that each class has, or all of them.

        macro:     the mean over the classes that are there or predicted
        weighted:  the mean over classes, each as often as it is there
        micro:     sum(part) / sum(whole)
        binary:    of class 1
        None:      float32[C], each class

    Args:
        average: which one.
        part: float32[C].
        whole: float32[C].
        counts: that they are made of.
        empty: the ratio where `whole` is 0.
    """
    # A label that is no class has made the total NaN, and with it each value.
    poison = 0 * counts.total
    if average == "micro":
        return ratio(part.sum(), whole.sum(), empty) + poison
    each = ratio(part, whole, empty) + poison
    if average is None:
        return each
    if average == "binary":
        return each[1]
    seen = (counts.actual + counts.predicted > 0).astype(jnp.float32)
    by = counts.actual if average == "weighted" else seen
    return ratio(jnp.sum(by * each), jnp.sum(by), empty)


def at_least_two(where: str, classes: int) -> None:
    """Require two classes at least, for what tells one from another.

    Args:
        where: the metric, for the message.
        classes: C.

    Raises:
        ValueError: if there are fewer.
    """
    if classes < 2:
        raise ValueError(f"{where}: `classes` must be at least 2; got {classes}. Count both.")


def check_average(where: str, average: Any, classes: int, multilabel: bool) -> None:
    """Require two classes at least that exclude each other, and for "binary" just two.

    Args:
        where: the metric, for the message.
        average: as for `averaged`.
        classes: C.
        multilabel: whether an example has any number of the classes.

    Raises:
        ValueError: if there are others.
    """
    if not multilabel:
        at_least_two(where, classes)
    if average == "binary" and (classes != 2 or multilabel):
        raise ValueError(
            f'{where}: `average="binary"` is of two classes, the second of which counts; got'
            f" classes={classes}, multilabel={multilabel}. Choose another average."
        )
