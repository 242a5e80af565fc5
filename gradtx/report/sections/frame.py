"""What sections are made of: a heading, numbers as text, what is folded away."""

from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element, table

ROWS = 30  # of a table; the rest is folded away


def section(title: str, *parts: Markup) -> Markup:
    """A section of the page, which its table of contents names.

    Args:
        title: its heading.
        *parts: what it consists of.
    """
    anchor = title.lower().replace(" ", "-")
    return element("section", element("h2", title), *parts, id=anchor)


def note(text: str) -> Markup:
    """A remark.

    Args:
        text: what it says.
    """
    return element("p", text, class_="note")


def folded(summary: str, *parts: Markup) -> Markup:
    """Parts that are shown at a click.

    Args:
        summary: what they are.
        *parts: the parts.
    """
    return element("details", element("summary", summary), *parts)


def long_table(header: Any, rows: list[Any], **attributes: Any) -> list[Markup]:
    """A table whose rows beyond some are folded away.

    Args:
        header: the names of the columns.
        rows: the rows.
        **attributes: of the table.
    """
    parts = [table(header, rows[:ROWS], **attributes)]
    if len(rows) > ROWS:
        parts.append(folded(f"{len(rows) - ROWS:,} more", table(header, rows[ROWS:], **attributes)))
    return parts


def number(value: Any) -> str:
    """A number in four digits; "-" for none.

    >>> number(0.123456), number(12345.6), number(7), number(None), number(float("nan"))
    ('0.1235', '12,346', '7', '-', '-')

    Args:
        value: the number.
    """
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return "-"
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return "-" if value is None else str(value)


def text(value: Any) -> str:
    """A value of an option; "-" for none, words for a list.

    >>> text(["accuracy", "f1"]), text(0.1), text(None)
    ('accuracy f1', '0.1', '-')

    Args:
        value: what JSON can hold.
    """
    if isinstance(value, list) and not any(isinstance(x, list | dict) for x in value):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
