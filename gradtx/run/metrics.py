"""The metrics of image classification that options name."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

from gradtx import metrics
from gradtx.kinds import checked

MetricName = Literal[
    "accuracy",
    "error_rate",
    "top_5",
    "precision",
    "recall",
    "f1",
    "precision_per_class",
    "recall_per_class",
    "f1_per_class",
    "confusion_matrix",
    "balanced_accuracy",
    "mcc",
    "roc_auc",
    "average_precision",
]
PLAIN = {
    "accuracy": metrics.accuracy,
    "error_rate": metrics.error_rate,
    "top_5": partial(metrics.top_k, 5),
}
PER_CLASS = "_per_class"


@checked
def image_metrics(
    names: Sequence[str] | None, classes: int, where: str = "image_metrics: names"
) -> dict[str, Any]:
    """Metrics by name, as `Loop` takes them; those without more to their name are macro averages.

    >>> list(image_metrics(["f1", "recall_per_class"], 10))
    ['f1', 'recall_per_class']

    Args:
        names: of `MetricName`; None: none.
        classes: how many there are.
        where: how a message begins.

    Raises:
        ValueError: beginning with `where`, for another name, or for "top_5" of five classes.
    """
    found = {}
    for name in names or ():
        if name not in get_args(MetricName):
            raise ValueError(
                f"{where} must be of {', '.join(get_args(MetricName))}; got {name!r}. Choose one."
            )
        if name == "top_5" and classes <= 5:
            raise ValueError(
                f"{where} can have top_5 for more than 5 classes; got {classes}. Leave it out."
            )
        if name in PLAIN:
            found[name] = PLAIN[name]()
            continue
        each = {"average": None} if name.endswith(PER_CLASS) else {}
        factory = getattr(metrics, name.removesuffix(PER_CLASS))
        found[name] = factory(classes=classes, **each)
    return found
