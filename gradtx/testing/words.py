"""Values as they are written on a command line."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.testing.target import Target, find

NAMES = {"true": True, "false": False, "none": None}


def value_of(where: str, text: str) -> Any:
    """The value that a word stands for: Python's, a `Target` for module:name, or the word itself.

    >>> [value_of("", word) for word in ("1e-3", "true", "(3, 4)", "learning_rate")]
    [0.001, True, (3, 4), 'learning_rate']

    Args:
        where: the program to name in messages.
        text: the word.

    Raises:
        ValueError: if it has the form module:name and is not found.
    """
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return find(where, text) if re.fullmatch(r"[^\s{}]+:[\w.]+", text) else text


def pairs(where: str, option: str, words: Sequence[str], *, alone: Any = ...) -> dict[str, Any]:
    """What the words NAME=VALUE of one option say.

    Args:
        where: the program to name in messages.
        option: the option to name in messages.
        words: what it was given.
        alone: what a NAME without a value stands for; `...` if it needs one.

    Raises:
        ValueError: for another form, or a name that was given twice.
    """
    made: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name.isidentifier() or not (text if equals else alone is not ...):
            raise ValueError(
                f"{where}: {option} must be NAME=VALUE; got {word!r}. Write for example"
                f" {option} learning_rate=1e-3."
            )
        if name in made:
            raise ValueError(
                f"{where}: {option} {name} must be given once; got it twice. Drop one."
            )
        made[name] = value_of(where, text) if equals else alone
    return made


def numbers(where: str, option: str, words: Sequence[str]) -> dict[str, float]:
    """`pairs` whose values are numbers.

    Args:
        where: the program to name in messages.
        option: the option to name in messages.
        words: what it was given.

    Raises:
        ValueError: for a value that is no number.
    """
    made = pairs(where, option, words)
    for name, value in made.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"{where}: {option} {name} must be a number; got {value!r}. Give other arguments by"
                " --arg."
            )
    return made


def fit(where: str, factory: Callable, arguments: Mapping[str, Any]) -> None:
    """Require that no argument is a word where the factory's default is a number or a bool.

    Args:
        where: the program to name in messages.
        factory: the function that they are for.
        arguments: its arguments by name.

    Raises:
        ValueError: for such a word.
    """
    try:
        known = inspect.signature(factory).parameters
    except ValueError:  # it has no signature to look at
        return
    for name, value in arguments.items():
        default = known[name].default if name in known else None
        if isinstance(value, str) and isinstance(default, bool | int | float):
            raise ValueError(
                f"{where}: --arg {name} must be of the kind of its default, {default!r}; got"
                f" {value!r}. Write a value of Python, such as {name}={default!r}."
            )


def shapes(where: str, text: str) -> dict[str, jax.ShapeDtypeStruct]:
    """A tree of float32 parameters from their shapes.

    >>> {k: v.shape for k, v in shapes("", "4x6,3,scalar").items()}
    {'p0': (4, 6), 'p1': (3,), 'p2': ()}

    Args:
        where: the program to name in messages.
        text: shapes such as 4x6 or `scalar`, with commas between them.

    Raises:
        ValueError: for another form.
    """
    made = {}
    for i, word in enumerate(text.split(",")):
        if word != "scalar" and not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3})*", word):
            raise ValueError(
                f"{where}: --shapes must be such as 4x6,3,scalar; got {text!r}. Write the lengths"
                " of the axes with x between them."
            )
        shape = () if word == "scalar" else tuple(map(int, word.split("x")))
        made[f"p{i}"] = jax.ShapeDtypeStruct(shape, jnp.float32)
    return made


def plain(value: Any) -> Any:
    """The value of a `Target`, and any other as it is.

    Args:
        value: what `value_of` gave.
    """
    return value.value if isinstance(value, Target) else value
