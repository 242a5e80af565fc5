"""HTML as values: everything that is not markup already is escaped.

>>> str(element("p", "1 < 2", class_="note"))
'<p class="note">1 &lt; 2</p>'
>>> str(element("td", element("b", "x")))
'<td><b>x</b></td>'
"""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

from gradtx.drawing.text import printed

VOID = ("img", "meta")


class Markup(str):
    """Text that is markup already."""


def element(tag: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element; children and attributes are escaped, `class_` is the attribute class.

    Args:
        tag: its name.
        children: markup, or text.
        attributes: by name.
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    shown = "".join(f' {key}="{escape(str(value))}"' for key, value in pairs)
    inside = "".join(map(escape, children))
    return Markup(f"<{tag}{shown}>" if tag in VOID else f"<{tag}{shown}>{inside}</{tag}>")


def escape(child: Any) -> Markup:
    """The markup of a child: itself, or its text, escaped; what cannot be seen too.

    Args:
        child: markup, or anything else.
    """
    return child if isinstance(child, Markup) else Markup(html.escape(printed(child)))


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], **attributes: Any) -> Markup:
    """A table in a box that scrolls sideways where the page is narrow.

    Args:
        header: a cell for each column.
        rows: the cells of each row.
        attributes: of the table.
    """
    head = element("tr", *(_cell(cell, "th", scope="col") for cell in header))
    body = [element("tr", *map(_cell, row)) for row in rows]
    parts = element("thead", head), element("tbody", *body)
    return element("div", element("table", *parts, **attributes), class_="wide")


def _cell(value: Any, tag: str = "td", **attributes: Any) -> Markup:
    ready = isinstance(value, Markup) and value.startswith(("<td", "<th"))
    return value if ready else element(tag, value, **attributes)


def image(data: bytes, *, kind: str, alt: str, **attributes: Any) -> Markup:
    """An image that is part of the page.

    Args:
        data: its bytes.
        kind: its media type.
        alt: what it shows, in words.
        attributes: as `element` takes them.
    """
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=alt, **attributes)
