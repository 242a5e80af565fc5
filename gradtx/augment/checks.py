"""Checks of the numbers that augmentations are made with; a traced one is the caller's care."""

from collections.abc import Callable
from typing import Any

from jax.core import Tracer


def require(
    where: str, name: str, value: Any, holds: Callable[..., Any], *, must: str, do: str
) -> None:
    """Raise an error unless `holds(value)`, for a number or a pair of which none is traced.

    Args:
        where: the function's name.
        name: the argument's.
        value: a number, or a pair.
        holds: a function of the number, or of the two.
        must: what holds then.
        do: what to do otherwise.

    Raises:
        ValueError: if it does not hold.
    """
    numbers = value if isinstance(value, tuple | list) else (value,)
    if any(isinstance(x, Tracer) for x in numbers):
        return
    try:
        sound = bool(holds(*numbers))
    except TypeError:  # another kind of value, or not two
        sound = False
    if not sound:
        raise ValueError(f"{where}: `{name}` must {must}; got {value!r}. {do}")
