"""The public names are those that tests/api.txt lists.

A module's names are its `__all__`, or without one what it defines itself and has no underscore.
When a name comes or goes on purpose, change the list and the changelog.
"""

import importlib
from typing import TypeVar

from tests.markdown import ROOT

LIST = ROOT / "tests" / "api.txt"
PARAGRAPHS = [paragraph.split() for paragraph in LIST.read_text().split("\n\n")]
LISTED = {module: found for module, *found in filter(None, PARAGRAPHS)}


def names(module):
    made = importlib.import_module(module)
    if hasattr(made, "__all__"):
        return sorted(set(made.__all__))
    own = lambda x: getattr(x, "__module__", None) == module and not isinstance(x, TypeVar)
    return sorted(name for name, x in vars(made).items() if name[0] != "_" and own(x))


def test_the_list_has_the_names_of_every_module():
    wrong = {
        f"{module}: {sorted({*names(module)} ^ {*found}) or 'out of order, or twice'}"
        for module, found in LISTED.items()
        if names(module) != found
    }
    assert not wrong, "\n".join([f"{LIST.name} differs from the modules", *sorted(wrong)])


def test_every_package_is_listed():
    """Of the modules beside them, those that are meant for users."""
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "gradtx").rglob("__init__.py")
        if "__all__" in path.read_text()
    }
    assert packages <= set(LISTED) | {"gradtx.testing.laws"}
