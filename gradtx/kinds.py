"""Kinds of arguments: one table of what each annotation admits, and the check by it.

    @checked
    def lookahead(..., sync_period: Count = 6, ...): ...

    lookahead: `sync_period` must be a whole number of at least 1; got 'no'. The default is 6.

Annotations of the standard library mean what they say; NaN and infinity are no `float`, True and
False no numbers, text is no sequence. What a number must be beyond that, an alias says: `Count`.
What is annotated as `Any`, or as something that is not in the table, is not looked at here:
hyperparameters, transformations and trees of arrays have checks of their own.
"""

import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from inspect import Parameter, Signature, signature
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type)


def _is_number(x: Any) -> bool:
    if isinstance(x, numbers.Number):
        return isinstance(x, numbers.Real) and not isinstance(x, bool)
    return _is_array(x) and x.shape == () and is_real(x.dtype)


def is_real(dtype: Any) -> bool:
    """Whether it is of integers or real floating numbers."""
    # By name, since bfloat16 and its like are of no kind to NumPy, and a random key of none at all.
    return str(dtype).startswith(("float", "bfloat", "int", "uint"))


def as_number(x: Any) -> float:
    """`x` as a float; NaN for an integer that is too large for one.

    Args:
        x: a number or an array of shape [].
    """
    try:
        return float(x)
    except OverflowError:
        return math.nan


def _number(test: Callable[[float], bool]) -> Callable[[Any], bool]:
    """`test` of a number; a traced one has no value yet, and passes."""

    def holds(x: Any) -> bool:
        try:
            return test(as_number(x))
        except TypeError:
            return True

    return holds


def _is_integer(x: Any) -> bool:
    return _is_number(x) and ("int" in str(x.dtype) if _is_array(x) else isinstance(x, int))


def _is_dtype(x: Any) -> bool:
    """Whether `x` names a real floating dtype."""
    try:
        return not _is_array(x) and str(np.dtype(x)).startswith(("float", "bfloat"))
    except Exception:  # NumPy and JAX raise errors of many kinds
        return False


def _always(x: Any) -> bool:
    return True


@dataclass(frozen=True)
class Kind:
    """What an argument may be.

    Args:
        what: it in words, after "must be".
        fits: whether a value is of this kind.
        holds: whether a value of this kind will do; NaN will not, as a number.
        bounds: which values will do, in words; by default `what`.
    """

    what: str
    fits: Callable[[Any], bool]
    holds: Callable[[Any], bool] = _always
    bounds: str = ""

    def admits(self, value: Any) -> bool:
        """Whether `value` is of this kind and will do."""
        return self.fits(value) and self.holds(value)


def _from(low: int, fits: Callable[[Any], bool] = _is_number) -> Kind:
    # A float that is whole is one, too, where it is only computed with: so does Optax.
    holds = _number(lambda x: low <= x < 2**31 and x == math.floor(x))
    return Kind("a whole number", fits, holds, f"at least {low}, whole and below 2^31")


def finite(what: str, test: Callable[[float], bool]) -> Kind:
    """The finite numbers of which `test` holds.

    Args:
        what: these in words.
        test: function of such a number.
    """
    return Kind(what, _is_number, _number(lambda x: math.isfinite(x) and test(x)))


Count = Annotated[int, _from(1)]
Natural = Annotated[int, _from(0)]
Whole = Annotated[int, _from(1, _is_integer)]  # what is counted with, such as epochs and sizes
Positive = Annotated[float, finite("a positive, finite number", lambda x: x > 0)]
NonNegative = Annotated[float, finite("a finite number of at least 0", lambda x: x >= 0)]
Fraction = Annotated[float, finite("a fraction, in [0, 1]", lambda x: 0 <= x <= 1)]
NonZero = Annotated[float, finite("a finite number other than 0", lambda x: x != 0)]
Bound = Annotated[float, Kind("a number of at least 0", _is_number, _number(lambda x: x >= 0))]
Dtype = Annotated[Any, Kind("a floating dtype, such as jnp.bfloat16", _is_dtype)]

KINDS: dict[Any, Kind] = {
    bool: Kind("True or False", lambda x: isinstance(x, bool | np.bool_)),
    int: Kind("an integer", _is_integer, _number(lambda x: abs(x) < 2**63)),
    float: finite("a finite number", _always),
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


def _row(kinds: Sequence[Kind | None]) -> Kind:
    fits = lambda x: isinstance(x, tuple | list) and len(x) == len(kinds)
    holds = lambda x: all(_all(kind, [value]) for kind, value in zip(kinds, x, strict=True))
    return Kind(f"({', '.join(kind.what if kind else 'anything' for kind in kinds)})", fits, holds)


def _several(origin: Any, kind: Kind | None) -> Kind:
    sized = Iterable if origin is Iterable else Sequence | np.ndarray
    single = lambda x: isinstance(x, str | bytes | Mapping) or getattr(x, "shape", None) == ()
    fits = lambda x: isinstance(x, sized) and not single(x)
    # An iterator can be read once, so not here.
    holds = lambda x: not isinstance(x, Sequence | np.ndarray) or _all(kind, x)
    each = f", each {kind.what}" if kind else ""
    return Kind(f"a sequence{each}", fits, holds)


def _by_name(key: Kind | None, value: Kind | None) -> Kind:
    holds = lambda x: _all(key, x) and _all(value, x.values())
    each = " to ".join(kind.what for kind in (key, value) if kind)
    return Kind(f"a dict of {each}" if each else "a dict", lambda x: isinstance(x, Mapping), holds)


def check_kind(where: str, name: str, annotation: Any, value: Any, default: Any = ...) -> None:
    """Require that `value` is of the kind that `annotation` stands for.

    Args:
        where: the function to name in the message.
        name: the argument to name in the message.
        annotation: a type, or what `typing` makes of types.
        value: the argument.
        default: its default, to name in the message; `...` for none.

    Raises:
        TypeError: if it is of another kind.
        ValueError: if it is of this kind but will not do, such as NaN.
    """
    kind = kind_of(annotation)
    if kind is None or kind.admits(value):
        return
    wanted, got = kind.what, _shown(value)
    remedy = f"Pass {wanted}." if default is ... else f"The default is {default!r:.60}."
    if kind.fits(value):
        raise ValueError(f"{where}: `{name}` must be {kind.bounds or wanted}; got {got}. {remedy}")
    of = type(value).__name__
    raise TypeError(f"{where}: `{name}` must be {wanted}; got {of} ({got}). {remedy}")


def _shown(value: Any) -> str:
    if _is_array(value) and getattr(value, "shape", ()) != ():
        return f"an array of shape {tuple(value.shape)}"
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"an integer of {value.bit_length()} bits"
    return text if len(text) <= 60 else text[:57] + "..."


def checked(function: F) -> F:
    """The function, which requires that its arguments are of the kinds of its annotations.

    Args:
        function: one with annotations; a dataclass is checked by its fields.
    """
    if isinstance(function, type):
        made: Any = function
        made.__init__ = _checked(made.__init__, made.__name__)
        return made
    return _checked(function, function.__name__)


def _checked(function: Any, where: str) -> Any:
    known = signature(function)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = known.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says what is missing
        for name, value in bound.arguments.items():
            parameter = known.parameters[name]
            if value is not parameter.default:
                _check_one(where, parameter, value)
        return function(*args, **kwargs)

    return wrapper


def _check_one(where: str, parameter: Parameter, value: Any) -> None:
    name, default, annotation = parameter.name, parameter.default, parameter.annotation
    if parameter.kind is Parameter.VAR_POSITIONAL:
        for i, one in enumerate(value):
            check_kind(where, f"{name}[{i}]", annotation, one)
    elif parameter.kind is Parameter.VAR_KEYWORD:
        for key, one in value.items():
            check_kind(where, key, annotation, one)
    else:
        check_kind(where, name, annotation, value, ... if default is Signature.empty else default)
