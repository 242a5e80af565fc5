"""Names that an Optax newer than 0.2.8 has: found when they are asked for."""

from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def newer_names(module: str, theirs: ModuleType) -> Callable[[str], Any]:
    """The `__getattr__` of a module of ours that hands Optax's names through.

    It never answers for a module of ours, which may be called as a newer Optax calls something
    else, nor for a name with an underscore.

    Args:
        module: name of our module.
        theirs: Optax's module.
    """

    def __getattr__(name: str) -> Any:
        if name.startswith("_") or not hasattr(theirs, name) or find_spec(f"{module}.{name}"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(theirs, name)

    return __getattr__
