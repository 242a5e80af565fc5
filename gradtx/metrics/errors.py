"""How far predictions of numbers are from the right ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import checked
from gradtx.loop.metric import Mean, Metric, add_values, mean_value, no_mean
from gradtx.metrics.examples import labelled


@checked
def mae(*, label: str | int | None = None) -> Metric:
    """The mean absolute error.

        value = sum(weight |pred - target|) / sum(weight)

    Of several numbers an example, each counts as much.

    >>> metric, batch = mae(), {"label": jnp.zeros(2)}
    >>> float(metric.compute(metric.update(metric.init(), jnp.array([1.0, -4.0]), batch)))
    2.5

    Args:
        label: the name of the right numbers, or their place in a tuple; None: the loop's name of
            the labels, or "label". They have the shape of the predictions, float[B, ...].

    Raises:
        ValueError: in training, if they have another shape.
    """
    return _mean("mae", jnp.abs, mean_value, label)


@checked
def mse(*, label: str | int | None = None) -> Metric:
    """The mean squared error.

        value = sum(weight (pred - target)^2) / sum(weight)

    Args:
        label: as for `mae`.

    Raises:
        ValueError: as `mae`.
    """
    return _mean("mse", jnp.square, mean_value, label)


@checked
def rmse(*, label: str | int | None = None) -> Metric:
    """The root of the mean squared error, over all numbers of all examples.

        value = sqrt(sum(weight (pred - target)^2) / sum(weight))

    Args:
        label: as for `mae`.

    Raises:
        ValueError: as `mae`.
    """
    return _mean("rmse", jnp.square, _root, label)


def _root(state: Mean) -> jax.Array:
    return jnp.sqrt(mean_value(state))


def _mean(
    where: str,
    of: Callable[[jax.Array], jax.Array],
    compute: Callable[[Mean], jax.Array],
    label: str | int | None,
) -> Metric:
    def add(state: Mean, pred: jax.Array, target: jax.Array, weight: jax.Array) -> Mean:
        pred, target = as_numbers(where, pred, target)
        values = of(pred - target).reshape(len(pred), -1).mean(axis=1)
        return add_values(state, values, None, weight)

    return labelled(where, no_mean, add, compute, label)


def as_numbers(where: str, pred: Any, target: Any) -> tuple[jax.Array, jax.Array]:
    """Predictions and right numbers, float32[B, ...].

    Args:
        where: the metric, for the message.
        pred: the predictions.
        target: the right numbers.

    Raises:
        ValueError: if one has another shape than the other, which would be spread over it.
    """
    if pred.shape != target.shape:
        raise ValueError(
            f"{where}: `pred` and the label must have one shape; got {pred.dtype}"
            f"{list(pred.shape)} and {target.dtype}{list(target.shape)}. Leave out the axis that"
            " one of them has more, such as by pred[:, 0]."
        )
    return pred.astype(jnp.float32), target.astype(jnp.float32)
