"""How well each class is found: precision, recall and F1."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element
from gradtx.report.run import Run
from gradtx.report.sections.frame import long_table, note, number, section
from gradtx.report.validation import Validation

BARS = ("precision", "recall", "F1")
HOW = (
    "precision: of the images taken for a class, the share that are of it; recall: of the images"
    " of a class, the share that are taken for it; F1: their harmonic mean. The worst first."
)


def precision_recall(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Figures for each class, of its confusion matrix; NaN where a share is of none.

        precision = matrix[c, c] / sum(matrix[:, c])    recall = matrix[c, c] / sum(matrix[c])
        F1 = 2 matrix[c, c] / (sum(matrix[:, c]) + sum(matrix[c]))

    Args:
        matrix: int[C, C or more], of a class (row) those taken for another (column).
    """
    right = np.diagonal(matrix).astype(float)
    of, taken = matrix.sum(axis=1).astype(float), matrix.sum(axis=0)[: len(matrix)].astype(float)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)

    return {
        "images": of,
        "precision": share(right, taken),
        "recall": share(right, of),
        "F1": share(2 * right, of + taken),
    }


def by_class(validation: Validation, classes: Sequence[str]) -> Markup:
    """A row for each class, by the model's predictions.

    Args:
        validation: what the model says of the validation images.
        classes: the names of the classes, by label.
    """
    figures = precision_recall(validation.confusion())
    return section("Classes", note(HOW), *_table(figures, names_of(classes, len(figures["F1"]))))


def logged_by_class(run: Run) -> list[Markup]:
    """What the epochs' metrics say of each class, after the last epoch.

    Args:
        run: the run.
    """
    row: dict[str, Any] = run.history.rows[-1] if run.history.rows else {}
    lists = {name: x for name, x in row.items() if _is_vector(x)}
    counts = {len(x) for x in lists.values()}
    parts = []
    for count in counts:
        figures = {n: np.array(x, float) for n, x in lists.items() if len(x) == count}
        parts += _table(figures, names_of(run.classes, count), bars=tuple(figures))
    said = note("Metrics with a value for each class, after the last epoch.")
    return [section("Metrics by class", said, *parts)] if parts else []


def _table(
    figures: Mapping[str, np.ndarray], names: Sequence[str], bars: Sequence[str] = BARS
) -> list[Markup]:
    key = figures.get("F1", next(iter(figures.values())))
    order = np.argsort(np.where(np.isnan(key), np.inf, key), kind="stable")
    rows = []
    for i in order:
        cells = [
            _bar(float(x[i])) if name in bars else number(int(x[i])) for name, x in figures.items()
        ]
        rows.append((element("th", element("bdi", names[i]), scope="row"), *cells))
    return long_table(("class", *figures), rows, class_="sortable")


def _bar(value: float) -> Markup:
    """A share, with a bar of that length behind it."""
    if not 0 <= value <= 1:
        return element("td", number(value))
    return element("td", f"{value:.3f}", class_="share", style=f"--share:{value:.3f}")


def _is_vector(value: Any) -> bool:
    """Whether a value of a row is a number for each class."""
    right = isinstance(value, list) and len(value) > 1
    return right and all(isinstance(x, int | float) for x in value)


def names_of(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """The names of classes, or their numbers where the names are not known.

    Args:
        classes: the names, by label.
        count: how many classes there are.
    """
    return tuple(classes) if len(classes) == count else tuple(map(str, range(count)))
