"""The share of the variance that predictions explain."""

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.examples import ratio
from gradtx.metrics.moments import Average, Moments, correlated


@checked
def r2(
    *,
    outputs: Count | None = None,
    average: Average | None = "macro",
    label: str | int | None = None,
) -> Metric:
    """The coefficient of determination.

        value = 1 - sum(weight (pred - target)^2) / sum(weight (target - mean target)^2)

    Where the target does not vary it is 1 if all is predicted exactly, else 0.

    Args:
        outputs: K, for predictions float[B, K]; None: they are float[B].
        average: "macro" is the mean over the outputs; None: float32[K], each.
        label: as for `gradtx.metrics.mae`.

    Raises:
        ValueError: in training, if shapes are others.

    Source: scikit-learn's `r2_score`, checked against it.
    """
    return correlated("r2", _r2, outputs=outputs, average=average, label=label)


def _r2(moments: Moments) -> jax.Array:
    exact = jnp.where(moments.errors == 0, 1.0, 0.0)
    value = 1 - ratio(moments.errors, moments.squares[1], 0.0)
    return jnp.where(moments.constant[1] & ~jnp.isnan(moments.errors), exact, value)
