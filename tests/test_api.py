"""The public names: tests/api.txt lists them, and each says what it is.

A module's names are its `__all__`, or without one what it defines itself and has no underscore.
When a name comes or goes on purpose, change the list and the changelog.
"""

import importlib
import inspect
import types
from typing import TypeVar

from tests.markdown import ROOT

LIST = ROOT / "tests" / "api.txt"
PARAGRAPHS = [paragraph.split() for paragraph in LIST.read_text().split("\n\n")]
LISTED = {module: found for module, *found in filter(None, PARAGRAPHS)}


def names(module):
    made = importlib.import_module(module)
    if hasattr(made, "__all__"):
        return sorted(made.__all__)
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


# Names of types, and of functions under a second name.
ALIASES = ("GradientTransformation", "ScalarOrSchedule", "Schedule", "Batch", "Batches")


def needs_docstring(name, made):
    """All but constants and names of types."""
    if isinstance(made, types.GenericAlias | types.UnionType) or name in ALIASES:
        return False
    return callable(made) or isinstance(made, types.ModuleType)


def test_every_public_name_says_what_it_is():
    bare = [
        f"{module}.{name}"
        for module, found in LISTED.items()
        for name, made in ((name, getattr(importlib.import_module(module), name)) for name in found)
        if needs_docstring(name, made) and not (inspect.getdoc(made) or "").strip()
    ]
    assert not bare, "\n".join(["without a docstring:", *bare])


NO_FORMULA = ("apply_if_finite", "curves", "presets")  # a second name, and modules
WITH_FORMULAS = (
    *("gradtx.transforms", "gradtx.optimizers", "gradtx.optimizers.presets"),
    *("gradtx.schedules", "gradtx.wrappers"),
)


def states_formula(doc):
    """Whether a docstring is one summary, then a formula."""
    summary, formula, *_ = [*doc.split("\n\n"), ""]
    # ruff takes the indentation away where nothing comes after the formula.
    stated = formula.startswith("    ") or (" = " in formula and not formula.endswith("."))
    return stated and ("\n" not in summary or summary.endswith("."))


def test_every_transform_and_schedule_opens_with_its_formula():
    docs = {
        f"{module}.{name}": inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
        for module in WITH_FORMULAS
        for name in LISTED[module]
        if name not in NO_FORMULA and name.islower()
    }
    assert len(docs) > 100
    wrong = [f"{name}: {doc[:150]!r}" for name, doc in docs.items() if not states_formula(doc)]
    assert not wrong, "\n".join(["not a summary, then a formula:", *wrong])
