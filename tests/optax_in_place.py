"""A plugin of pytest that puts gradtx's functions in Optax's place, for Optax's own tests.

    python -m pytest -p tests.optax_in_place $(python -m tests.optax_in_place)

Whatever has a public name in one of Optax's modules, and another object of that name in gradtx's
module, is replaced wherever Optax's modules hold it, so that Optax's own code calls ours, too.
"""

import importlib
import inspect
import sys
import warnings
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import optax

import gradtx

MODULES = (
    *("assignment", "contrib", "experimental", "losses", "microbatching", "perturbations"),
    *("projections", "schedules", "second_order", "transforms", "tree", "tree_utils"),
)


def pairs() -> dict[str, tuple[ModuleType, ModuleType]]:
    """Optax's public modules and ours, by name; "" is the top."""
    found = {"": (optax, gradtx)}
    for name in MODULES:
        ours, theirs = (importlib.import_module(f"{each}.{name}") for each in ("gradtx", "optax"))
        found[name] = (theirs, ours)
    return found


def public_names(theirs: ModuleType) -> list[str]:
    """The public names of one of Optax's modules, without those of other libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        names = {*dir(theirs), *getattr(theirs, "__all__", ())}
        stranger = lambda x: inspect.ismodule(x) and x.__name__.split(".")[0] != "optax"
        return sorted(n for n in names if n[0] != "_" and not stranger(getattr(theirs, n)))


def replaced() -> dict[str, tuple[Any, Any]]:
    """(Optax's, ours) of all that is ours under a public name of Optax's, by module and name."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module, (theirs, ours) in pairs().items():
            for name in public_names(theirs):
                a, b = getattr(theirs, name), getattr(ours, name)
                if a is not b and isinstance(a, FunctionType | partial):
                    found[f"{module}.{name}".strip(".")] = (a, b)
    return found


def put_in_place() -> None:
    """Replace Optax's by ours, in all of Optax's modules that are loaded."""
    by_id = {id(a): b for a, b in replaced().values()}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "optax":
            for key, value in list(vars(module).items()):
                if id(value) in by_id:
                    setattr(module, key, by_id[id(value)])


def pytest_configure(config: Any) -> None:
    """Called by pytest before it imports any test."""
    del config
    put_in_place()


def tests() -> list[Path]:
    """The files of Optax's own tests."""
    return sorted(Path(optax.__file__).parent.rglob("*_test.py"))


if __name__ == "__main__":
    print(*tests())
