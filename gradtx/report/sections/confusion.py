"""Which classes are taken for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element, table
from gradtx.report.run import Run
from gradtx.report.sections.classes import names_of
from gradtx.report.sections.frame import note, section
from gradtx.report.validation import Validation

MATRIX = 25  # classes that a confusion matrix shows
NONE = "none: NaN"  # what an image without a prediction is taken for
PAIRS = 10  # confusions in the list


def confusions(validation: Validation, classes: tuple[str, ...]) -> list[Markup]:
    """The confusion matrix, if the classes are few, and the most frequent confusions.

    Args:
        validation: what the model says of the validation images.
        classes: the names of the classes, by label.
    """
    return confusion_tables(validation.confusion(), classes)


def confusion_tables(matrix: np.ndarray, classes: Sequence[str]) -> list[Markup]:
    """The same of a matrix.

    Args:
        matrix: of a class (row) how many are taken for another (column): [C, C or more].
        classes: the names of the classes, by label.
    """
    names = names_of(classes, len(matrix))
    parts = []
    if len(matrix) <= MATRIX:
        parts.append(note("A row for each class, a column for what it is taken for."))
        parts.append(_matrix(matrix, names))
    parts.append(table(("class", "taken for", "images"), _most_confused(matrix, names)))
    return parts


def logged_confusions(run: Run) -> list[Markup]:
    """The confusion matrices among the metrics, after the last epoch.

    Args:
        run: the run.
    """
    row = run.history.rows[-1] if run.history.rows else {}
    found = {name: x for name, x in row.items() if "confusion" in name and _is_square(x)}
    return [
        section(f"Metric {name}", *confusion_tables(np.array(x, float), run.classes))
        for name, x in found.items()
    ]


def _is_square(value: Any) -> bool:
    rows = value if isinstance(value, list) else []
    right = all(isinstance(row, list) and len(row) == len(rows) for row in rows)
    return bool(rows) and right and all(isinstance(x, int | float) for row in rows for x in row)


def _matrix(matrix: np.ndarray, names: tuple[str, ...]) -> Markup:
    """The confusion matrix; a cell is the stronger, the greater its share of the row."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)
    columns, rows = (*names, NONE)[: matrix.shape[1]], []
    for i, name in enumerate(names):
        cells = [_cell(matrix[i, j], share[i, j], right=i == j) for j in range(len(columns))]
        rows.append((element("th", element("bdi", name), scope="row"), *cells))
    heads = (element("th", element("bdi", name), scope="col") for name in columns)
    return table(("", *heads), rows, class_="matrix")


def _cell(count: Any, share: float, *, right: bool) -> Markup:
    if not count:
        return element("td", "")
    kind = "right" if right else "wrong"
    return element("td", f"{count:g}", class_=kind, style=f"--share:{share:.3f}")


def _most_confused(matrix: np.ndarray, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """(class, what it is taken for, images), the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]:
        i, j = np.unravel_index(place, wrong.shape)
        if wrong[i, j]:
            cells = (element("td", element("bdi", x)) for x in (names[i], (*names, NONE)[j]))
            rows.append((*cells, f"{wrong[i, j]:g}"))
    return rows
