"""Accuracy where each class counts as much as another."""

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.counts import Counts, at_least_two, counted
from gradtx.metrics.examples import ratio


@checked
def balanced_accuracy(*, classes: Count, label: str | int | None = None) -> Metric:
    """The mean over the classes that are there of the share that is predicted as its own.

        value = mean over c with actual_c > 0 of hits_c / actual_c

    Args:
        classes: C, the number of classes.
        label: as for `gradtx.metrics.precision`.

    Raises:
        ValueError: if there are not two classes at least; in training, if shapes or dtypes do not
            fit together.

    Source: scikit-learn's `balanced_accuracy_score`, checked against it.
    """
    at_least_two("balanced_accuracy", classes)
    return counted("balanced_accuracy", _balanced, classes=classes, label=label)


def _balanced(counts: Counts) -> jax.Array:
    there = (counts.actual > 0).astype(jnp.float32)
    recall = ratio(counts.hits, counts.actual, 0.0)
    return ratio(jnp.sum(recall), jnp.sum(there)) + 0 * counts.total
