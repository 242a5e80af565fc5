"""The area under precision as a function of recall."""

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.examples import ratio
from gradtx.metrics.scores import Average, known, ranked


@checked
def average_precision(
    *,
    classes: Count = 2,
    bins: Count = 1024,
    average: Average | None = "macro",
    bound: bool = False,
    multilabel: bool = False,
    label: str | int | None = None,
) -> Metric:
    """The mean precision over the examples of a class, at the thresholds of their scores.

        value = sum_i (p_i / sum p) P_i / (P_i + N_i)        P_i = sum_(j>=i) p_j, N_i likewise

    with p_i and n_i as for `roc_auc`, and the same bins. Examples in one bin count as if their
    scores were the same. So the exact value is between what it is if all positive ones of a bin had
    greater scores than the others, and what it is if all had smaller ones, a little at a time:

        least = sum_i (p_i - N_i log(1 + p_i / (P_i - p_i + N_i))) / sum p
        most = sum_i (p_i / sum p) P_i / (P_i + N_i - n_i)

    and `bound=True` gives how far the value is from the farther one. NaN as `roc_auc`.

    Args:
        classes: as for `roc_auc`.
        bins: as for `roc_auc`.
        average: as for `roc_auc`.
        bound: the bound of the error in place of the value.
        multilabel: as for `roc_auc`.
        label: as for `gradtx.metrics.precision`.

    Raises:
        ValueError: as `roc_auc`.

    Source: scikit-learn's `average_precision_score`, checked against it.
    """
    value = _bound if bound else _area
    how = {"average": average, "multilabel": multilabel, "label": label}
    return ranked("average_precision", value, classes=classes, bins=bins, **how)


def _from_above(x: jax.Array) -> jax.Array:
    return jnp.cumsum(x[::-1])[::-1]


def _area(positive: jax.Array, negative: jax.Array) -> jax.Array:
    hits, misses = _from_above(positive), _from_above(negative)
    share = ratio(positive, positive.sum(), 0.0)
    return known(positive, negative, jnp.sum(share * ratio(hits, hits + misses, 0.0)))


def _bound(positive: jax.Array, negative: jax.Array) -> jax.Array:
    value = _area(positive, negative)
    hits, misses = _from_above(positive), _from_above(negative)
    share = ratio(positive, positive.sum(), 0.0)
    before = jnp.clip(hits - positive, 0)
    lost = misses * jnp.log1p(ratio(positive, before + misses, 0.0))
    least = jnp.sum(ratio(positive - lost, positive.sum(), 0.0))
    most = jnp.sum(share * ratio(hits, hits + jnp.clip(misses - negative, 0), 0.0))
    return jnp.maximum(value - least, most - value)
