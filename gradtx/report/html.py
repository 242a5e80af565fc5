"""The page: what it looks like, and its frame."""

from typing import Any

from gradtx.drawing.markup import Markup, element

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
