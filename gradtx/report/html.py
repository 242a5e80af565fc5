"""The frame of a page: its style and its scripts within it, and nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from gradtx.drawing.markup import Markup, element
from gradtx.report.colors import line_rules, variables
from gradtx.report.sections.epochs import run_name

SCRIPTS = ("uPlot.iife.min.js", "report.js")
STYLES = ("uPlot.min.css", "report.css")
UPLOT = "1.6.32"  # https://github.com/leeoniya/uPlot, MIT: uPlot.LICENSE


@cache
def asset(name: str) -> str:
    """A file of this room.

    Args:
        name: of the file.
    """
    return (Path(__file__).parent / name).read_text("utf-8")


def policy() -> str:
    """What a page may load: its own two scripts, its style, images within it; nothing else.

    So a name that got past all escaping could not run, and no page can ask the network.
    """
    digests = (hashlib.sha256(asset(name).encode()).digest() for name in SCRIPTS)
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    own = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {scripts}; {own}"


def page(title: str, sections: Sequence[Markup], *, head: Sequence[Markup] = ()) -> str:
    """A whole page, which needs no other file.

    Args:
        title: of the page.
        sections: what it consists of; the table of contents names those with an id.
        head: what stands before the controls.
    """
    style = variables() + line_rules() + "\n".join(map(asset, STYLES))
    in_head = (
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
        *(element("script", Markup(asset(name))) for name in SCRIPTS),
    )
    title_shown = element("h1", element("bdi", title))
    main = element("main", title_shown, *head, _contents(sections), _controls(), *sections)
    whole = element("html", element("head", *in_head), element("body", main), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _contents(sections: Sequence[Markup]) -> Markup:
    """Links to the sections, by their headings."""
    links = []
    for each in sections:
        anchor = each.partition(' id="')[2].partition('"')[0]
        heading = Markup(each.partition("<h2>")[2].partition("</h2>")[0])
        links.append(element("a", heading, href=Markup(f"#{anchor}")))
    return element("nav", *links, aria_label="contents")


def _controls() -> Markup:
    """What the scripts heed; it is not shown without them."""
    slider = Markup('<input type="range" id="smoothing" min="0" max="0.99" step="0.01" value="0">')
    box = lambda axis: Markup(f'<input type="checkbox" id="log-{axis}">')
    themes = [element("option", name, value=name) for name in ("auto", "light", "dark")]
    parts = (
        element("label", "Smoothing ", slider, element("output", "0", for_="smoothing")),
        element("label", box("y"), "log heights"),
        element("label", box("x"), "log steps"),
        element("label", "Colors ", element("select", *themes, id="theme")),
    )
    return element("div", *parts, class_="controls needs-script")


def chips(runs: Mapping[str, object]) -> Markup:
    """The runs with their colors; a box for each shows or hides it on the whole page.

    Args:
        runs: by name.
    """
    items = []
    for i, name in enumerate(runs):
        box = Markup(f'<input type="checkbox" checked data-toggles="{i}">')
        items.append(element("li", element("label", box, run_name(name, i), class_="chip")))
    return element("ul", *items, class_="runs")
