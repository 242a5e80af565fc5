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
from tests.test_docstrings import SUBJECTS

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
    for name in members:
        hidden = hasattr(made, "__path__") and importlib.util.find_spec(f"{identifier}.{name}")
        if not hidden:
            yield getattr(made, name)


SHOWN = {id(made) for _, identifier, options in ENTRIES for made in shown(identifier, options)}


@pytest.mark.parametrize("name", TOP)
def test_a_public_name_is_on_a_page(name):
    assert id(TOP[name]) in SHOWN, "add `::: module.name` to a page of docs/api"


def test_a_placeholder_in_a_sentence_is_no_html():
    pytest.importorskip("griffe")
    spec: Any = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/docstrings.py")
    made: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = "Read train/<class>/<image>, as `a<b>`.\n\n    x = <y>\n\n>>> f()\n<g>"
    wanted = (
        "Read train/&lt;class>/&lt;image>, as `a<b>`.\n\n    x = <y>\n\n```pycon\n>>> f()\n<g>\n```"
    )
    assert made.marked_up(text) == wanted
