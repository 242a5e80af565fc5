"""A refusal names the function that was called and the argument that was given to it.

    trace(decay=2)        trace: `decay` must be in [0, 1); got 2.

though it is `scale_by_momentum` that refuses, which `trace` gives its `decay` on to.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature
from typing import Any

REFUSAL = re.compile(r"(?P<where>[\w.]+): `(?P<name>\w+)")


@contextmanager
def refusing(value: Any) -> Iterator[None]:
    """Keep `value` beside a refusal of it, where it has another name than in the caller.

    Args:
        value: the argument that is checked within.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        vars(error)["refused"] = (value,)
        raise


def name_given(
    error: Exception,
    where: str,
    given: Mapping[str, Any],
    passed: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
) -> None:
    """Let a refusal that leaves a function name the argument which was given on.

    The refused value stays beside the error for the caller, which has it as an argument of its
    own, or else leaves the message as it is. Other errors stay as they are.

    Args:
        error: what was raised within the function.
        where: the name of the function.
        given: its arguments.
        passed: the same as it passes them on, large whole numbers as floats.
        parameters: what its signature says of them.
    """
    match = REFUSAL.match(str(error))
    if match is None or type(error) not in (TypeError, ValueError):
        return
    name = match["name"]
    if match["where"] == where and name in given:
        vars(error)["refused"] = (given[name],)
        return
    if "refused" not in vars(error):
        return
    (value,) = vars(error)["refused"]
    # One object can be several arguments, as a small number is: prefer the likest name.
    own = [key for key in passed if passed[key] is value]
    own.sort(key=lambda key: (key != name, not key.endswith(name)))
    if not own:
        return
    new, rest = own[0], str(error)[match.end() :]
    vars(error)["refused"] = (given[new],)
    rest = re.sub(rf"(?<![\w.]){name}=", f"{new}=", rest)
    default = parameters[new].default
    if default is not Signature.empty:
        rest = re.sub(r"The default is .*\.$", lambda _: default_of(default), rest)
    error.args = (f"{where}: `{new}{rest}",)


def default_of(value: Any) -> str:
    """What a message says of a default.

    Args:
        value: the default.
    """
    return f"The default is {value!r:.60}."
