"""Correlations of predictions and right numbers."""

from typing import NoReturn

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.examples import ratio
from gradtx.metrics.moments import Average, Moments, correlated


@checked
def pearson(
    *,
    outputs: Count | None = None,
    average: Average | None = "macro",
    label: str | int | None = None,
) -> Metric:
    """The linear correlation of predictions and right numbers; NaN where one does not vary.

        value = cov(pred, target) / sqrt(var(pred) var(target))

    Args:
        outputs: K, for predictions float[B, K]; None: they are float[B].
        average: "macro" is the mean over the outputs; None: float32[K], each.
        label: as for `gradtx.metrics.mae`.

    Raises:
        ValueError: in training, if shapes are others.
    """
    return correlated("pearson", _pearson, outputs=outputs, average=average, label=label)


def _pearson(moments: Moments) -> jax.Array:
    # Root by root: the product of both squares may be too large for float32.
    scale = jnp.sqrt(moments.squares[0]) * jnp.sqrt(moments.squares[1])
    value = jnp.clip(ratio(moments.products, scale), -1, 1)
    return jnp.where(moments.constant.any(axis=0), jnp.nan, value)


def spearman() -> NoReturn:
    """Not a metric: the correlation of ranks needs all predictions at once.

    Raises:
        NotImplementedError: always; the message says what to use.
    """
    raise NotImplementedError(
        "spearman: a metric must have a state of fixed size; got one of ranks, which needs all"
        " predictions at once. Predict the validation set and use scipy.stats.spearmanr, or use"
        " gradtx.metrics.pearson."
    )
