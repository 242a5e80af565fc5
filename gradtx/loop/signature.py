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
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(
            f"{where} must be a function of {form}; got {name}{signature}. Give it these arguments,"
            " or wrap it in a function that has them."
        ) from None
