"""How often each class is predicted as each."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.classes import as_classes, spread
from gradtx.metrics.counts import at_least_two
from gradtx.metrics.examples import labelled, ratio

Share = Literal["label", "prediction", "all"]


@checked
def confusion_matrix(
    *, classes: Count, share: Share | None = None, label: str | int | None = None
) -> Metric:
    """The examples of each class (row) that are predicted as each (column): float32[C, C].

        value[a, p] = sum of the weights of the examples with label a and prediction p

    An example with a NaN among its scores is in no column.

    Args:
        classes: C, the number of classes.
        share: None: sums of weights; "label": shares of their row; "prediction": of their column;
            "all": of all. Of nothing, they are 0.
        label: as for `gradtx.metrics.precision`; one outside 0..C-1 makes all entries NaN.

    Raises:
        ValueError: if there are not two classes at least; in training, if shapes or dtypes do not
            fit together.

    Source: scikit-learn's `confusion_matrix`, checked against it.
    """
    at_least_two("confusion_matrix", classes)
    classes = int(classes)
    init = lambda: jnp.zeros((classes, classes), jnp.float32)
    add, compute = partial(_add, classes), partial(_shares, share)
    return labelled("confusion_matrix", init, add, compute, label)


def _add(
    classes: int, state: jax.Array, pred: jax.Array, target: jax.Array, weight: jax.Array
) -> jax.Array:
    predicted, actual = as_classes("confusion_matrix", pred, target, classes)
    weight = spread(weight, actual)
    unknown = jnp.any((actual < 0) & (weight != 0))
    out = lambda index: jnp.where(index < 0, classes, index)  # of range, which XLA drops
    state = state.at[out(actual), out(predicted)].add(weight, mode="drop")
    return jnp.where(unknown, jnp.nan, state)


def _shares(share: Share | None, matrix: jax.Array) -> jax.Array:
    if share is None:
        return matrix
    axis = {"label": 1, "prediction": 0, "all": None}[share]
    whole = jnp.sum(matrix, axis=axis, keepdims=True)
    return ratio(matrix, jnp.broadcast_to(whole, matrix.shape), 0.0)
