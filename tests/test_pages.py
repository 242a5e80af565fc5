"""The reference pages, docs/api/*.md, show every public name of ours.

mkdocstrings leaves out a function whose package has a file of the same name, without a word: such a
name needs a line of its own.
"""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.markdown import ROOT
from tests.test_api import names
from tests.test_docstrings import SUBJECTS, is_ours

# `::: identifier`, and its options.
ENTRY = re.compile(r"^::: ([\w.]+)\n((?:    .*\n)*)", re.M)
ENTRIES = [
    (path.name, identifier, options)
    for path in sorted((ROOT / "docs" / "api").glob("*.md"))
    for identifier, options in ENTRY.findall(path.read_text() + "\n")
]
TOP = {name: made for name, made in SUBJECTS.items() if "." not in made.__qualname__}


def resolved(identifier: str) -> Any:
    """The module of that name, or what stands under the name in one."""
    try:
        return importlib.import_module(identifier)
    except ModuleNotFoundError:
        module, _, name = identifier.rpartition(".")
        return getattr(importlib.import_module(module), name)


def shown(identifier: str, options: str) -> Iterator[Any]:
    made = resolved(identifier)
    if not inspect.ismodule(made):
        yield made
        return
    chosen = re.search(r"members: (\[(.*?)\]|false)", options, re.S)
    members = names(identifier) if chosen is None else re.findall(r"\w+", chosen.group(2) or "")
    left_out = re.findall(r'"!\^(\w+)\$"', options)
    for name in sorted({*members} - {*left_out}):
        hidden = hasattr(made, "__path__") and importlib.util.find_spec(f"{identifier}.{name}")
        if not hidden:
            yield getattr(made, name)


SHOWN = {id(made) for _, identifier, options in ENTRIES for made in shown(identifier, options)}


@pytest.mark.parametrize("name", TOP)
def test_a_public_name_is_on_a_page(name):
    assert id(TOP[name]) in SHOWN, "add `::: module.name` to a page of docs/api"


@pytest.mark.parametrize("page", sorted({page for page, _, _ in ENTRIES}))
def test_nothing_is_on_a_page_twice(page):
    """A package shows what its files hold; one of them named beside it would show that again."""
    there = [made for name, *entry in ENTRIES if name == page for made in shown(*entry)]
    there = [made for made in there if is_ours(made)]  # those can be compared
    again = {made.__qualname__ for made in there if there.count(made) > 1}
    assert not again, "leave the package's `members`, or these entries, out"


def test_a_placeholder_in_a_sentence_is_no_html():
    text = "Read train/<class>/<image>, as `a<b>`.\n\n    x = <y>\n\n>>> f()\n<g>"
    wanted = (
        "Read train/&lt;class>/&lt;image>, as `a<b>`.\n\n    x = <y>\n\n```pycon\n>>> f()\n<g>\n```"
    )
    assert made_by_the_pages().marked_up(text) == wanted


def test_a_placeholder_among_the_arguments_is_no_html():
    text = "Do it.\n\nArgs:\n    x: the norm <m, o>,\n        or `a<b>`.\n\nRaises:\n    E: of <y>."
    assert made_by_the_pages().marked_up(text) == text.replace("<m", "&lt;m").replace("<y", "&lt;y")


def test_a_signature_has_the_defaults_of_options():
    """Not the calls of `gradtx.config.option`, with all that `--help` says of them."""
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions(made_by_the_pages().Docstrings)
    read: Any = griffe.load("gradtx.run.options", search_paths=[ROOT], extensions=extensions)
    shown = {part.name: str(part.default) for part in read["RunOptions"].parameters}
    assert shown["epochs"] == "3" and shown["precision"] == "'f32'" and shown["out"] == "None"
    assert str(read["RunOptions.epochs"].value) == "3"


def made_by_the_pages() -> Any:
    pytest.importorskip("griffe")
    spec: Any = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/docstrings.py")
    made: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
