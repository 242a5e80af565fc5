"""Whether a function takes what it will be called with."""

import inspect
from collections.abc import Callable
from typing import Any


def check_signature(
    where: str, function: Callable[..., Any], form: str, *args: Any, **kwargs: Any
) -> None:
    """Require a function that can be called so; one that does not say what it takes passes.

    Args:
        where: the beginning of the message.
        function: that will be called.
        form: what it is called with, in words.
        args: as many positional arguments as it will get.
        kwargs: the names of those that it will get by name.

    Raises:
        TypeError: if it does not take them.
    """
    if not accepts(function, *args, **kwargs):
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(
            f"{where} must be a function of {form}; got {name}{_plain(function)}. Give"
            " it these arguments, or wrap it in a function that has them."
        )


def accepts(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Whether a function can be called so; one that does not say what it takes can.

    Args:
        function: that will be called.
        args: as many positional arguments as it will get.
        kwargs: the names of those that it will get by name.
    """
    signature = signature_of(function)
    try:
        return signature is None or bool(signature.bind(*args, **kwargs) or True)
    except TypeError:
        return False


def required(function: Callable[..., Any]) -> int | None:
    """How many positional arguments a function needs; None if it does not say what it takes.

    Args:
        function: that will be called.
    """
    signature = signature_of(function)
    if signature is None:
        return None
    parameters = signature.parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in places)


def _plain(function: Callable[..., Any]) -> inspect.Signature:
    """The signature without annotations, which may be as long as a page."""
    signature = inspect.signature(function)
    parameters = [x.replace(annotation=x.empty) for x in signature.parameters.values()]
    return inspect.Signature(parameters)


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a function takes; None if it does not say.

    Args:
        function: anything that can be called.
    """
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
