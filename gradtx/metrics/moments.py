"""Means, variances and covariance of predictions and right numbers, batch by batch."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.loop.metric import Metric
from gradtx.metrics.errors import as_numbers
from gradtx.metrics.examples import labelled, ratio, zeros

Average = Literal["macro"]
NOISE = 4e-7  # of a mean in float32, relative


class Moments(NamedTuple):
    """Of K outputs; deviations are from the means so far, so that no digits are lost.

    Args:
        weight: float32[], the sum of the weights.
        means: float32[2, K], of predictions and of right numbers.
        squares: float32[2, K], sums of weight times squared deviation.
        products: float32[K], sums of weight times the product of both deviations.
        errors: float32[K], sums of weight (pred - target)^2.
    """

    weight: jax.Array
    means: jax.Array
    squares: jax.Array
    products: jax.Array
    errors: jax.Array

    @property
    def constant(self) -> jax.Array:
        """bool[2, K]: what does not vary, but for rounding."""
        return self.squares <= self.weight * jnp.square(NOISE * self.means)


def correlated(
    where: str,
    value: Callable[[Moments], jax.Array],
    *,
    outputs: int | None,
    average: Average | None,
    label: str | int | None,
) -> Metric:
    """A metric that is a function of `Moments`.

    Args:
        where: the metric, for messages.
        value: the function, to float32[K].
        outputs: K; None: one, and no axis for it.
        average: over outputs.
        label: as for `labelled`.
    """
    outputs = None if outputs is None else int(outputs)
    k = outputs or 1
    init = lambda: Moments(*zeros((), (2, k), (2, k), (k,), (k,)))
    compute = partial(_value, value, average is not None or outputs is None)
    return labelled(where, init, partial(_add, where, outputs), compute, label)


def _value(value: Callable[[Moments], jax.Array], mean: bool, state: Moments) -> jax.Array:
    each = jnp.where(state.weight > 0, value(state), jnp.nan)
    return each.mean() if mean else each


def _add(
    where: str,
    outputs: int | None,
    state: Moments,
    pred: jax.Array,
    target: jax.Array,
    weight: jax.Array,
) -> Moments:
    """Both parts' moments about their own means, and the distance of the means.

    S = S_a + S_b + (m_b - m_a)^2 W_a W_b / (W_a + W_b)
    """
    pred, target = as_numbers(where, pred, target)
    if pred.shape != ((len(pred),) if outputs is None else (len(pred), outputs)):
        wanted = "[B]" if outputs is None else f"[B, {outputs}]"
        raise ValueError(
            f"{where}: `pred` must be float{wanted}; got {list(pred.shape)}. Say how many `outputs`"
            " there are."
        )
    both = jnp.stack([pred, target]).reshape(2, len(pred), -1)
    w, each = weight[:, None], weight[None, :, None]
    both = jnp.where(each != 0, both, 0)  # what weighs nothing may be NaN
    here = jnp.sum(weight)
    total = state.weight + here
    means = ratio(jnp.sum(each * both, axis=1), here, 0.0)
    away = both - means[:, None]
    step = means - state.means
    between = ratio(state.weight * here, total, 0.0)
    return Moments(
        total,
        state.means + step * ratio(here, total, 0.0),
        state.squares + jnp.sum(each * jnp.square(away), axis=1) + between * jnp.square(step),
        state.products + jnp.sum(w * away[0] * away[1], axis=0) + between * step[0] * step[1],
        state.errors + jnp.sum(w * jnp.square(both[0] - both[1]), axis=0),
    )
