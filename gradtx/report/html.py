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


STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1f23; background: #fff;
  max-width: 76rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; }
.tiles img { image-rendering: pixelated; aspect-ratio: 1; object-fit: contain; background: #eee; }
figcaption { font-size: .875rem; }
.wide { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left;
  overflow-wrap: normal; }
.config td { overflow-wrap: anywhere; max-width: 40rem; min-width: 6rem; }
.matrix td, .matrix th { text-align: right; padding: .2rem .4rem; border: 0; white-space: nowrap; }
.bad { color: #a11; }
@media (max-width: 30rem) { .grid { grid-template-columns: 1fr; }
  .tiles { grid-template-columns: 1fr 1fr; } }
"""


def page(title: str, *sections: Any) -> str:
    """A whole page, which needs no other file."""
    head = (
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    body = element("body", element("main", element("h1", title), *sections))
    return f"<!doctype html>\n{element('html', element('head', *head), body, lang='en')}\n"
