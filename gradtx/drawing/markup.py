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

VOID = ("img", "meta")


class Markup(str):
    """Text that is markup already."""


def element(tag: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element; children and attributes are escaped, `class_` is the attribute class."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    shown = "".join(f' {key}="{html.escape(str(value))}"' for key, value in pairs)
    inside = "".join(map(escape, children))
    return Markup(f"<{tag}{shown}>" if tag in VOID else f"<{tag}{shown}>{inside}</{tag}>")


def escape(child: Any) -> Markup:
    """The markup of a child: itself, or its text, escaped."""
    return child if isinstance(child, Markup) else Markup(html.escape(str(child)))


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], **attributes: Any) -> Markup:
    """A table in a box that scrolls sideways where the page is narrow."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [element("tr", *map(_cell, row)) for row in rows]
    parts = element("thead", head), element("tbody", *body)
    return element("div", element("table", *parts, **attributes), class_="wide")


def _cell(value: Any) -> Markup:
    ready = isinstance(value, Markup) and value.startswith(("<td", "<th"))
    return value if ready else element("td", value)


def image(data: bytes, *, kind: str, alt: str) -> Markup:
    """An image that is part of the page; `kind` is its media type."""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=alt)
