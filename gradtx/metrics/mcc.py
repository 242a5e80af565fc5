"""Matthews' correlation of what is predicted and what is right."""

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.counts import Counts, at_least_two, counted
from gradtx.metrics.examples import ratio

NONE = 1e-5  # of the whole: the least share that is not rounding


@checked
def mcc(*, classes: Count, label: str | int | None = None) -> Metric:
    """Matthews' correlation coefficient, of any number of classes.

        value = (h n - p.a) / sqrt((n^2 - p.p) (n^2 - a.a))

    with n the sum of all weights, h that of what is right, and p and a, float32[C], those of what
    is predicted as each class and of what is of it. 0 where only one class is there or predicted.

    Args:
        classes: C, the number of classes.
        label: as for `gradtx.metrics.precision`.

    Raises:
        ValueError: if there are not two classes at least; in training, if shapes or dtypes do not
            fit together.

    Source: Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation
    coefficient"; scikit-learn's `matthews_corrcoef`, checked against it.
    """
    at_least_two("mcc", classes)
    return counted("mcc", _mcc, classes=classes, label=label)


def _mcc(counts: Counts) -> jax.Array:
    actual, everything = _shares(counts.actual, counts.total)
    predicted, _ = _shares(counts.predicted, counts.total)
    together = ratio(counts.hits.sum(), everything) - jnp.sum(predicted * actual)
    # 1 - sum(p^2) as sum(p (1 - p)), which does not cancel where one class is nearly all.
    spread = lambda p: jnp.sum(p * (1 - p))
    value = ratio(together, jnp.sqrt(spread(predicted) * spread(actual)), 0.0)
    return jnp.where(everything > 0, value, jnp.nan) + 0 * counts.total


def _shares(counts: jax.Array, total: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The shares of classes, exactly 1 for the only one; and what they are of."""
    none = total - counts.sum()  # of no class, as predictions with a NaN are; or rounding
    whole = counts.sum() + jnp.where(none > NONE * total, none, 0)
    return ratio(counts, jnp.broadcast_to(whole, counts.shape)), whole
