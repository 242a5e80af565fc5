"""The check of arguments by the annotations of a function, and what it says."""

import typing
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeVar

from gradtx.kinds.kind import is_array
from gradtx.kinds.naming import default_of, name_given
from gradtx.kinds.table import kind_of

F = TypeVar("F", bound=Callable[..., Any])


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
    remedy = f"Pass {wanted}." if default is ... else default_of(default)
    if kind.fits(value):
        raise ValueError(f"{where}: `{name}` must be {kind.bounds or wanted}; got {got}. {remedy}")
    of = type(value).__name__
    raise TypeError(f"{where}: `{name}` must be {wanted}; got {of} ({got}). {remedy}")


def _shown(value: Any) -> str:
    if is_array(value) and getattr(value, "shape", ()) != ():
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
    return _checked(function, function.__qualname__.rpartition("<locals>.")[2])


def alias(name: str, function: F) -> F:
    """A checked function under another name, which its messages have.

    Args:
        name: the other name.
        function: one that is `checked`.
    """
    made = _checked(function, name)
    made.__name__ = made.__qualname__ = name
    return made


def _checked(function: Any, where: str) -> Any:
    known = signature(function)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = known.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says what is missing
        given = dict(bound.arguments)
        try:
            for name, value in given.items():
                parameter = known.parameters[name]
                if value is not parameter.default:
                    _check_one(where, parameter, value)
                # JAX takes no Python integer from 2^31 on, not even beside floats.
                if type(value) is int and abs(value) >= 2**31 and _is_float(parameter.annotation):
                    bound.arguments[name] = float(value)
            return function(*bound.args, **bound.kwargs)
        except (TypeError, ValueError) as error:
            name_given(error, where, given, bound.arguments, known.parameters)
            raise

    return wrapper


def _is_float(annotation: Any) -> bool:
    """Whether a parameter is a float, or may be, as `Positive` or `float | None`."""
    if typing.get_origin(annotation) is Annotated:
        return annotation.__origin__ is float
    return annotation is float or any(map(_is_float, typing.get_args(annotation)))


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
