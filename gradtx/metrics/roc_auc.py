"""The area under the receiver operating characteristic."""

import jax
import jax.numpy as jnp

from gradtx.kinds import Count, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.examples import ratio
from gradtx.metrics.scores import Average, known, ranked


@checked
def roc_auc(
    *,
    classes: Count = 2,
    bins: Count = 1024,
    average: Average | None = "macro",
    bound: bool = False,
    multilabel: bool = False,
    label: str | int | None = None,
) -> Metric:
    """The probability that an example of the class has a greater score than one of another class.

        value = sum_i p_i (sum_(j<i) n_j + n_i / 2) / (sum p  sum n)

    with p_i and n_i the weights, in bin i, of the examples that are of the class and of the others.
    The bins are of equal width in z / (1 + |z|), z the log-odds. Pairs in one bin count a half, so
    the value is the exact one up to

        bound = sum_i p_i n_i / (2 sum p  sum n)

    which `bound=True` gives in its place; it falls as the number of bins rises. NaN where all
    examples are of the class, or none is, or a score is NaN.

    >>> batch = {"label": jnp.array([1, 0, 0, 1])}
    >>> state = (metric := roc_auc()).update(metric.init(), jnp.array([2.0, -1, 0.5, 0.1]), batch)
    >>> float(metric.compute(state))
    0.75

    Args:
        classes: C. Of two, the second is ranked, by logits float[B] or float[B, 2]; of more, each
            is against the others, by its probability, the softmax of logits float[B, C].
        bins: of each class; the state is float32[2, C, bins].
        average: over more than two classes: "macro" is the mean over those that the examples are,
            and not all are; "weighted" counts each as often as it is there; None: float32[C], each
            class.
        bound: the bound of the error in place of the value.
        multilabel: whether an example has any number of the classes, labels 0 or 1, [B, C], each
            ranked by its logit.
        label: as for `gradtx.metrics.precision`.

    Raises:
        ValueError: if there are not two classes and two bins at least; in training, if shapes or
            dtypes do not fit together.

    Source: scikit-learn's `roc_auc_score`, one against the rest; checked against it.
    """
    value = _bound if bound else _area
    how = {"average": average, "multilabel": multilabel, "label": label}
    return ranked("roc_auc", value, classes=classes, bins=bins, **how)


def _area(positive: jax.Array, negative: jax.Array) -> jax.Array:
    whole = negative.sum()
    below = jnp.cumsum(negative) - negative / 2
    share = jnp.sum(ratio(positive, positive.sum(), 0.0) * ratio(below, whole, 0.0))
    return known(positive, negative, share)


def _bound(positive: jax.Array, negative: jax.Array) -> jax.Array:
    share = jnp.sum(ratio(positive, positive.sum(), 0.0) * ratio(negative, negative.sum(), 0.0))
    return known(positive, negative, share / 2)
