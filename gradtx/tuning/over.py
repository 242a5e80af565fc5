"""A dimension of a search space as words of a command line."""

import math
from typing import Any

from gradtx.kinds import checked
from gradtx.tuning.space import log_uniform


@checked
def parse_over(text: str, where: str = "parse_over: text") -> tuple[str, Any]:
    """The name and the values of "NAME=LOW:HIGH" (log-uniform) or "NAME=A,B,C" (one of these).

    >>> parse_over("weight_decay=0,0.01")
    ('weight_decay', [0.0, 0.01])

    Args:
        text: of this form, with 0 < LOW < HIGH; a list has one number or more.
        where: the beginning of the message, if it is not.

    Raises:
        ValueError: beginning with `where`.
    """
    name, _, values = text.partition("=")
    try:
        if not name.isidentifier():
            raise ValueError
        if ":" in values:
            low, high = map(float, values.split(":"))
            return name, log_uniform(low, high)
        numbers = [float(each) for each in values.split(",")]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{where} must be NAME=LOW:HIGH, for example lr=1e-4:1e-1, with 0 < LOW < HIGH, or"
            f" NAME=A,B,C, for example weight_decay=0,0.01,0.1; got {text!r}."
        ) from None
    return name, numbers
