"""The share of examples that a classifier gets right."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric, add_values, mean_value, no_mean
from gradtx.metrics.classes import as_classes
from gradtx.metrics.examples import labelled


@checked
def accuracy(*, label: str | int | None = None) -> Metric:
    """The share of examples whose class is predicted.

        value = sum(weight (predicted == label)) / sum(weight)

    Where an example has many places, as words or pixels, each counts as much. A NaN among the
    scores makes an example wrong; a label outside 0..C-1 makes the value NaN, unless it weighs 0.

    >>> metric = accuracy()
    >>> batch = {"label": jnp.array([1, 0, 1])}
    >>> state = metric.update(metric.init(), jnp.array([[0.0, 1], [0, 1], [0, 2]]), batch)
    >>> round(float(metric.compute(state)), 4)
    0.6667

    Args:
        label: the name of the labels, or their place in a tuple; None: the loop's, or "label".
            They are int[B, ...] for scores float[B, ..., C], or for logits of class 1, [B, ...];
            or like the scores, where the largest entry counts.

    Raises:
        ValueError: in training, if shapes or dtypes are others.
    """
    return _mean("accuracy", _right, label)


@checked
def error_rate(*, label: str | int | None = None) -> Metric:
    """The share of examples whose class is not predicted: 1 - accuracy.

    Args:
        label: as for `accuracy`.

    Raises:
        ValueError: as `accuracy`.
    """
    return _mean("error_rate", _wrong, label)


@checked
def top_k(k: Count, *, label: str | int | None = None) -> Metric:
    """The share of examples whose class is among the k that have the largest scores.

        value = sum(weight (rank of pred[label] among pred <= k)) / sum(weight)

    Of equal scores those of the first classes are the larger ones, as for `argmax`.

    Args:
        k: how many classes are looked at, at least 1.
        label: as for `accuracy`; the prediction is float[B, ..., C].

    Raises:
        ValueError: as `accuracy`, or if there are not more than k classes.
    """
    return _mean("top_k", partial(_among, int(k)), label)


def _right(where: str, pred: jax.Array, target: jax.Array) -> jax.Array:
    predicted, actual = as_classes(where, pred, target)
    return _if_known(actual, predicted == actual)


def _wrong(where: str, pred: jax.Array, target: jax.Array) -> jax.Array:
    return 1 - _right(where, pred, target)


def _among(k: int, where: str, pred: jax.Array, target: jax.Array) -> jax.Array:
    count = pred.shape[-1] if pred.ndim > 1 else 0
    if count <= k:
        raise ValueError(
            f"{where}: `pred` must be float[B, ..., C] with more than k={k} classes; got"
            f" {pred.dtype}{list(pred.shape)}. Choose a smaller k."
        )
    predicted, actual = as_classes(where, pred, target)
    own = jnp.take_along_axis(pred, jnp.clip(actual, 0)[..., None], axis=-1)
    before = jnp.arange(count).reshape([1] * (pred.ndim - 1) + [count]) < actual[..., None]
    better = jnp.sum((pred > own) | ((pred == own) & before), axis=-1)
    return _if_known(actual, (better < k) & (predicted >= 0))


def _if_known(actual: jax.Array, right: jax.Array) -> jax.Array:
    """1 where it is right, else 0; NaN where the label is no class."""
    return jnp.where(actual < 0, jnp.nan, right.astype(jnp.float32))


def _mean(where: str, right: Any, label: str | int | None) -> Metric:
    def add(state: Any, pred: jax.Array, target: jax.Array, weight: jax.Array):
        values = right(where, pred, target)
        return add_values(state, values.reshape(len(values), -1).mean(axis=1), None, weight)

    return labelled(where, no_mean, add, mean_value, label)
