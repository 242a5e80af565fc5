"""Functions that do the same, though each was made anew.

Factories make their functions anew at every call. Two functions of one `def` do the same if what
they have closed over is the same, as two schedules that were made from equal numbers.
"""

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from types import FunctionType, MappingProxyType, MethodType
from typing import Any

import numpy as np
from optax import GradientTransformation

SMALL = 2**20  # bytes: NumPy arrays up to this size are compared by their content


class Alike:
    """A function that is equal to another if both do the same: for the structure of a pytree.

    Args:
        function: which `self.function` is.
    """

    def __init__(self, function: Callable[..., Any]) -> None:  # noqa: D107
        self.function, self.copy = function, copy_of(function)

    def __hash__(self) -> int:
        return hash(self.copy)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Alike) and self.copy == other.copy

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__)


@dataclasses.dataclass(frozen=True)
class Itself:
    """What is equal to nothing but itself.

    Args:
        thing: which is kept, so that no other takes its place.
    """

    thing: Any

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Itself) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


def copy_of(x: Any, inside: tuple[int, ...] = ()) -> Any:
    """A value that is equal to that of another thing which does the same.

    Functions are compared by their code and by what they hold, also of outer functions; tuples,
    dicts, NumPy arrays and frozen dataclasses by content; numbers and text by value. All else,
    such as transformations, lists and objects that can change, is equal to itself alone; so is an
    empty dict, which is there to be filled.

    >>> rate = lambda peak: lambda count: peak / (1 + count)
    >>> [copy_of(rate(0.1)) == copy_of(rate(peak)) for peak in (0.1, 0.2)]
    [True, False]

    Args:
        x: anything.
        inside: the ids of what it is part of; a thing that holds itself ends there.
    """
    if id(x) in inside:
        return "itself, further out"
    within = (*inside, id(x))
    of = lambda parts: tuple(copy_of(part, within) for part in parts)
    kind = type(x)
    if isinstance(x, GradientTransformation):
        return Itself(x)  # as the loop's own: its parts hold each other in many ways
    if isinstance(x, float):
        return kind, x.hex()  # -0.0 is not 0.0
    if x is None or isinstance(x, bool | int | str | bytes | complex | Enum | np.dtype | type):
        return kind, x
    if isinstance(x, FunctionType):
        held = [_held(cell) for cell in x.__closure__ or ()]
        more = [part or () for part in (x.__defaults__, x.__kwdefaults__, x.__dict__)]
        return Itself(x.__code__), Itself(x.__globals__), of(held), of(more)
    if isinstance(x, partial):
        return kind, of((x.func, x.args, x.keywords or ()))
    if isinstance(x, MethodType):
        return kind, of((x.__func__, x.__self__))
    if isinstance(x, tuple):
        return kind, of(x)
    if isinstance(x, Mapping) and kind in (dict, MappingProxyType) and x:
        return kind, tuple(x), of(x.values())
    if isinstance(x, np.ndarray | np.generic) and x.dtype != object and x.nbytes <= SMALL:
        return kind, x.dtype, x.shape, x.tobytes()
    if dataclasses.is_dataclass(x) and kind.__dataclass_params__.frozen:  # pyright: ignore
        return kind, of(vars(x).values()) if hasattr(x, "__dict__") else Itself(x)
    return Itself(x)


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty still
        return cell
