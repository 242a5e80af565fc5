"""Precision, recall and what weighs them against each other."""

from functools import partial

import jax

from gradtx.kinds import Count, Positive, checked
from gradtx.loop.metric import Metric
from gradtx.metrics.counts import Average, Counts, averaged, check_average, counted


@checked
def precision(
    *,
    classes: Count,
    average: Average | None = "macro",
    multilabel: bool = False,
    zero_division: float = 0.0,
    label: str | int | None = None,
) -> Metric:
    """Of what is predicted as a class, the share that is of it.

        precision_c = hits_c / predicted_c

    Args:
        classes: C, the number of classes.
        average: "macro" is the mean over the classes that are there or predicted; "weighted" counts
            each as often as it is there; "micro" is the ratio of the sums over classes; "binary" is
            class 1 of two; None: float32[C], each class.
        multilabel: whether an example has any number of the classes: logits float[B, C], where more
            than 0 predicts the class, and labels 0 or 1, [B, C].
        zero_division: the ratio of a class that is never predicted.
        label: the name of the labels, or their place in a tuple; None: the loop's, or "label".
            They are int[B, ...] for scores float[B, ..., C], or float[B, ..., C], whose largest
            entry counts. One outside 0..C-1 makes the value NaN, unless it weighs 0.

    Raises:
        ValueError: if there are not two classes at least, or the average is one of two classes and
            there are others; in training, if shapes or dtypes do not fit together.

    Source: scikit-learn's `precision_score`, checked against it.
    """
    check_average("precision", average, classes, multilabel)
    compute = partial(_precision, average, zero_division)
    return counted("precision", compute, classes=classes, label=label, multilabel=multilabel)


@checked
def recall(
    *,
    classes: Count,
    average: Average | None = "macro",
    multilabel: bool = False,
    zero_division: float = 0.0,
    label: str | int | None = None,
) -> Metric:
    """Of what is of a class, the share that is predicted as it.

        recall_c = hits_c / actual_c

    Args:
        classes: C, the number of classes.
        average: as for `precision`.
        multilabel: as for `precision`.
        zero_division: the ratio of a class that is not there.
        label: as for `precision`.

    Raises:
        ValueError: as `precision`.

    Source: scikit-learn's `recall_score`, checked against it.
    """
    check_average("recall", average, classes, multilabel)
    compute = partial(_recall, average, zero_division)
    return counted("recall", compute, classes=classes, label=label, multilabel=multilabel)


@checked
def f_beta(
    beta: Positive = 1.0,
    *,
    classes: Count,
    average: Average | None = "macro",
    multilabel: bool = False,
    zero_division: float = 0.0,
    label: str | int | None = None,
) -> Metric:
    """The harmonic mean of precision and recall, recall counting beta times as much.

        f_c = (1 + beta^2) hits_c / (predicted_c + beta^2 actual_c)

    Args:
        beta: how many times as much recall counts as precision, positive.
        classes: C, the number of classes.
        average: as for `precision`.
        multilabel: as for `precision`.
        zero_division: the value of a class that is neither there nor predicted.
        label: as for `precision`.

    Raises:
        ValueError: as `precision`.

    Source: scikit-learn's `fbeta_score`, checked against it.
    """
    check_average("f_beta", average, classes, multilabel)
    compute = partial(_f_beta, beta, average, zero_division)
    return counted("f_beta", compute, classes=classes, label=label, multilabel=multilabel)


@checked
def f1(
    *,
    classes: Count,
    average: Average | None = "macro",
    multilabel: bool = False,
    zero_division: float = 0.0,
    label: str | int | None = None,
) -> Metric:
    """The harmonic mean of precision and recall: `f_beta` with beta=1.

        f1_c = 2 hits_c / (predicted_c + actual_c)

    >>> import jax.numpy as jnp
    >>> metric = f1(classes=2, average=None)
    >>> pred, batch = jnp.array([[0.0, 1], [0, 1], [1, 0]]), {"label": jnp.array([1, 0, 0])}
    >>> [round(float(x), 4) for x in metric.compute(metric.update(metric.init(), pred, batch))]
    [0.6667, 0.6667]

    Args:
        classes: C, the number of classes.
        average: as for `precision`.
        multilabel: as for `precision`.
        zero_division: as for `f_beta`.
        label: as for `precision`.

    Raises:
        ValueError: as `precision`.

    Source: scikit-learn's `f1_score`, checked against it.
    """
    how = {"classes": classes, "average": average, "multilabel": multilabel}
    return f_beta(1.0, **how, zero_division=zero_division, label=label)


def _precision(average: Average | None, empty: float, counts: Counts) -> jax.Array:
    return averaged(average, counts.hits, counts.predicted, counts, empty)


def _recall(average: Average | None, empty: float, counts: Counts) -> jax.Array:
    return averaged(average, counts.hits, counts.actual, counts, empty)


def _f_beta(beta: float, average: Average | None, empty: float, counts: Counts) -> jax.Array:
    square = beta * beta
    part, whole = (1 + square) * counts.hits, counts.predicted + square * counts.actual
    return averaged(average, part, whole, counts, empty)
