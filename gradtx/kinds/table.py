"""The one table: what each annotation admits."""

import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from gradtx.kinds.kind import Kind, a_number, always, finite, is_array, is_integer

KINDS: dict[Any, Kind] = {
    bool: Kind("True or False", lambda x: isinstance(x, bool | np.bool_)),
    int: Kind("an integer", is_integer, a_number(lambda x: abs(x) < 2**63)),
    float: finite("a finite number", always),
    str: Kind("text", lambda x: isinstance(x, str)),
    Path: Kind("a path", lambda x: isinstance(x, PathLike)),
    Callable: Kind("a function", callable),
    types.NoneType: Kind("None", lambda x: x is None),
}


@cache
def kind_of(annotation: Any) -> Kind | None:
    """The kind that an annotation stands for; None where it is not looked at.

    Args:
        annotation: a type, or what `typing` makes of types.
    """
    if isinstance(annotation, str):  # of a module that is not imported to run
        return None
    if typing.get_origin(annotation) is Annotated:
        return next((x for x in annotation.__metadata__ if isinstance(x, Kind)), None)
    if annotation in KINDS:
        return KINDS[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _one_of([kind_of(x) for x in inner])
    if origin is Callable:
        return KINDS[Callable] if inner[0] is Ellipsis else _function(len(inner[0]))
    if origin is tuple and Ellipsis not in inner:
        return _row([kind_of(x) for x in inner])
    if origin in (tuple, list, Sequence, Collection, Iterable):
        return _several(origin, kind_of(inner[0]))
    if origin is Literal:
        return Kind(
            f"one of {', '.join(map(repr, inner))}",
            lambda x: type(x) in map(type, inner),
            lambda x: x in inner,
        )
    if origin is Mapping:
        return _by_name(*[kind_of(x) for x in inner])
    ours = isinstance(annotation, type) and annotation.__module__.startswith("gradtx.")
    if not ours or getattr(annotation, "_is_protocol", False):
        return None
    return Kind(f"a {annotation.__name__}", lambda x: isinstance(x, annotation))


def takes(function: Any, count: int) -> bool:
    """Whether `function` can be called with `count` arguments, as far as its signature says.

    Args:
        function: anything.
        count: number of positional arguments.
    """
    if not callable(function):
        return False
    try:
        signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # it has no signature to look at
        return True
    return True


def _function(count: int) -> Kind:
    many = ("no arguments", "one argument", "two arguments")
    what = many[count] if count < len(many) else f"{count} arguments"
    return Kind(f"a function of {what}", lambda x: takes(x, count))


def _one_of(kinds: Sequence[Kind | None]) -> Kind | None:
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None
    fits = lambda x: any(kind.fits(x) for kind in known)
    holds = lambda x: any(kind.admits(x) for kind in known)
    joined = lambda words: " or ".join(dict.fromkeys(words))
    bounds = joined(kind.bounds or kind.what for kind in known)
    return Kind(joined(kind.what for kind in known), fits, holds, bounds)


def _all(kind: Kind | None, values: Iterable[Any]) -> bool:
    return kind is None or all(map(kind.admits, values))


def _fit(kind: Kind | None, values: Iterable[Any]) -> bool:
    return kind is None or all(map(kind.fits, values))


def _row(kinds: Sequence[Kind | None]) -> Kind:
    each = lambda x: all(_fit(kind, [value]) for kind, value in zip(kinds, x, strict=True))
    fits = lambda x: isinstance(x, tuple | list) and len(x) == len(kinds) and each(x)
    holds = lambda x: all(_all(kind, [value]) for kind, value in zip(kinds, x, strict=True))
    return Kind(f"({', '.join(kind.what if kind else 'anything' for kind in kinds)})", fits, holds)


def _several(origin: Any, kind: Kind | None) -> Kind:
    known = lambda x: isinstance(x, Sequence) or is_array(x)
    single = lambda x: isinstance(x, str | bytes | Mapping) or getattr(x, "shape", None) == ()
    sized = (lambda x: isinstance(x, Iterable)) if origin is Iterable else known
    fits = lambda x: sized(x) and not single(x) and (not known(x) or _fit(kind, x))
    holds = lambda x: not known(x) or _all(kind, x)  # an iterator can be read once, so not here
    each = f", each {kind.what}" if kind else ""
    return Kind(f"a sequence{each}", fits, holds)


def _by_name(key: Kind | None, value: Kind | None) -> Kind:
    holds = lambda x: _all(key, x) and _all(value, x.values())
    each = " to ".join(kind.what for kind in (key, value) if kind)
    fits = lambda x: isinstance(x, Mapping) and _fit(key, x) and _fit(value, x.values())
    return Kind(f"a dict of {each}" if each else "a dict", fits, holds)
