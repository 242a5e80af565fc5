"""What a notebook shows of a value: HTML that takes the notebook's colors, dark ones too."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element, image
from gradtx.drawing.output import to_png

MOST = 40  # rows of a table
LINE = "border-bottom:1px solid rgba(128,128,128,.35);padding:.2em .8em"


def fragment(*parts: Any) -> Markup:
    """Parts one under the other; text is escaped, and there is no script.

    Args:
        parts: text, or markup.
    """
    return element("div", *(p if isinstance(p, Markup) else element("p", p) for p in parts))


def grid(header: Sequence[Any], rows: Iterable[Sequence[Any]], *, most: int = MOST) -> Markup:
    """A table; of one that is too long the rows in the middle are left out, and it says so.

    >>> "<td" in grid(["a"], [[1.5]]), "1,998 more" in grid(["a"], [[i] for i in range(2038)])
    (True, True)

    Args:
        header: a cell for each column.
        rows: the cells of each row: numbers are rounded to four digits, text begins at the left.
        most: how many rows are shown.
    """
    rows = [*rows]
    shown = [_row(row) for row in (rows if len(rows) <= most else rows[: most // 2])]
    if len(rows) > most:
        left = f"... {len(rows) - 2 * (most // 2):,} more ..."
        shown.append(element("tr", element("td", left, colspan=len(header), style=LINE)))
        shown += map(_row, rows[-(most // 2) :])
    head = (element("th", cell, scope="col", style=f"{LINE};text-align:left") for cell in header)
    style = "border-collapse:collapse;font-variant-numeric:tabular-nums"
    parts = element("thead", element("tr", *head)), element("tbody", *shown)
    # Of its own, so that a wide table scrolls and not the page.
    scrolls = "overflow-x:auto;margin:.5em 0"
    return element("div", element("table", *parts, style=style), style=scrolls)


def _row(cells: Sequence[Any]) -> Markup:
    return element("tr", *(_cell(cell) for cell in cells))


def _cell(value: Any) -> Markup:
    align = "left" if isinstance(value, str) else "right"
    return element("td", number(value), style=f"{LINE};text-align:{align}")


def number(value: Any) -> str:
    """A value of a table, in few letters.

    >>> [number(x) for x in (0.123456, 3, None, float("nan"), np.zeros((2, 2)), "a")]
    ['0.1235', '3', '-', '-', '[2, 2]', 'a']

    Args:
        value: a number, an array, of which the shape is shown, text, or None.
    """
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    shape = np.shape(value)
    if shape:
        return str([*shape])
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return "-" if np.isnan(value) else f"{value:.4g}"
    return str(value)


def picture(draw: Callable[[], Any], alt: str) -> Markup:
    """A figure as part of the HTML, on a ground of its own; nothing where matplotlib is missing.

    Args:
        draw: a function that returns the figure.
        alt: what it shows, for who can't see it.
    """
    try:
        data = to_png(draw())
    except ImportError:
        return Markup("")
    return image(data, kind="image/png", alt=alt, style="max-width:100%;background:#fff")
