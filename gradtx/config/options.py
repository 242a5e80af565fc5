"""The fields of a dataclass as options: what they are, how they are read and written."""

import argparse
import dataclasses
import math
import shlex
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar

from gradtx.config.parser import Help, Parser, nearest
from gradtx.files import as_path

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    below: float = math.inf,
    words: Mapping[str, Any] = types.MappingProxyType({}),
    resumable: bool = True,
    overridable: bool = False,
) -> Any:
    """A field of an options dataclass, with its default and what `--help` says of it.

    Args:
        default: the value of the field where the command line does not give one.
        help: what `--help` says of the option.
        least: the least value of a number that `check_ranges` accepts; None: it checks nothing.
        below: the first value that is too large.
        words: what may be written in place of a value, such as "auto", and the value it stands for,
            which may be out of that range.
        resumable: whether a run that is resumed takes over the value that it was begun with.
        overridable: whether the command line that resumes a run may give another value: such
            options say where a run is made, not what it makes.
    """
    metadata = {
        "help": help,
        "least": least,
        "below": below,
        "words": words,
        "resumable": resumable,
        "overridable": overridable,
    }
    return dataclasses.field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """The option of a field, as it is written on the command line.

    >>> flag("batch_size")
    '--batch-size'

    Args:
        name: the field's name.
    """
    return "--" + name.replace("_", "-")


def invocation(prog: str) -> str:
    """How a shell starts a program: a script is given to Python.

    >>> invocation("train.py"), invocation("gradtx train")
    ('python train.py', 'gradtx train')

    Args:
        prog: the script, or a command with its first words.
    """
    return f"python {prog}" if prog.endswith(".py") else prog


def command(options: Any, *, prog: str, without: Collection[str] = (), **changes: Any) -> str:
    """The command line that gives an options dataclass these values, to be copied.

    Only what differs from the defaults is in it.

    Args:
        options: an instance of an options dataclass.
        prog: the script, such as "train.py", or a command.
        without: names of fields to leave out.
        **changes: values of fields in the place of those of `options`.
    """
    usual = type(options)()
    words = invocation(prog).split()
    for field in dataclasses.fields(options):
        value = changes.get(field.name, getattr(options, field.name))
        if field.name in without or value in (None, getattr(usual, field.name)):
            continue
        name = flag(field.name)
        if isinstance(value, bool):
            words.append(name if value else name.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            words += [name, *map(str, value)]
        else:
            spoken = {of: word for word, of in field.metadata.get("words", {}).items()}
            text = str(spoken.get(value, value))
            words += [f"{name}={text}"] if text.startswith("-") else [name, text]
    return shlex.join(words)


def check_ranges(options: Any, where: str) -> None:
    """Require each number to be in [least, below) of its `option`; None is always accepted.

    Args:
        options: an instance of an options dataclass.
        where: how the message begins, such as the name of the script.

    Raises:
        ValueError: if a number is outside.
    """
    for field in dataclasses.fields(options):
        value, least = getattr(options, field.name), field.metadata.get("least")
        if value is None or least is None or value in field.metadata["words"].values():
            continue
        below = field.metadata["below"]
        if not least <= value < below:
            raise ValueError(
                f"{where}: `{flag(field.name)}` must be in [{least}, {below}); got {value}. Choose"
                " a value inside."
            )


def parse_range(text: str, where: str, *, most: float = math.inf) -> tuple[float, float]:
    """The numbers of "LOW:HIGH", each a decimal or a fraction.

    >>> parse_range("3/4:1.5", "--ratio")
    (0.75, 1.5)

    Args:
        text: of this form, with 0 < LOW <= HIGH <= `most`.
        where: how the message begins, such as the name of the option.
        most: the largest number that is accepted.

    Raises:
        ValueError: beginning with `where`, if it is not.
    """
    try:
        low, high = (float(Fraction(part)) for part in text.split(":"))
        if not 0 < low <= high <= most:
            raise ValueError
    except (ValueError, ZeroDivisionError, OverflowError):
        bound = "" if most == math.inf else f" <= {most:g}"
        raise ValueError(
            f"{where} must be LOW:HIGH, for example 0.5:1, with 0 < LOW <= HIGH{bound}; got"
            f" {text!r}. Choose two such numbers."
        ) from None
    return low, high


def check_ignored(argv: Sequence[str], ignored: Mapping[str, Collection[str]], where: str) -> None:
    """Refuse a command line with an option that would have no effect.

    Args:
        argv: the words of the command line.
        ignored: for each reason, such as "--model mlp", the names of the fields that it ignores.
        where: how the message begins, such as the name of the script.

    Raises:
        ValueError: if `argv` has an ignored option.
    """
    words = {word.split("=")[0] for word in argv if word.startswith("--")}
    for what, names in ignored.items():
        flags = set(map(flag, names))
        flags |= {name.replace("--", "--no-", 1) for name in flags}
        if found := sorted(words & flags):
            raise ValueError(
                f"{where}: `{what}` has no use for some options; got {', '.join(found)}. Leave"
                " out one or the other."
            )


def parse(
    cls: type[T],
    argv: Sequence[str] | None = None,
    *,
    prog: str = "",
    description: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> T:
    """Read the options of a dataclass from a command line.

    A field `batch_size: int` is the option `--batch-size INT`; a `bool` is a switch, with its
    `--no-` form; a `Literal` lists its choices; `tuple[X, ...]` is one or more X; `X | None` is an
    X that may be left out. An option that does not exist, or a value that does not parse, ends the
    process with status 2 and a line that names it.

    `--help` shows the options in the groups of the dataclass's `GROUPS`: {title: (an example, the
    names of fields)}; without it in one.

    Args:
        cls: the dataclass; its fields are made by `option`.
        argv: the words of the command line, by default the process's own.
        prog: the name of the script in messages and in `--help`.
        description: what `--help` says of the script.
        defaults: values of fields that take the place of the dataclass's own defaults.
    """
    parser = Parser(
        prog=prog or None,
        usage=f"{prog} [OPTIONS]" if prog else None,
        description=description,
        allow_abbrev=False,
        formatter_class=lambda prog: Help(prog, max_help_position=26),
    )
    groups = {
        name: group
        for title, (example, names) in getattr(cls, "GROUPS", {}).items()
        for group in [parser.add_argument_group(title, example)]
        for name in names
    }
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        taken = _argument(hints[field.name], field.metadata.get("words", {}))
        plain = field.default in (None, "", ()) or field.default is False
        value = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        about = field.metadata.get("help", "")
        if "nargs" in taken and "choices" in taken:  # which argparse would write twice, unbroken
            about += f"; NAME is one of {', '.join(taken['choices'])}"
            taken["metavar"] = "NAME"
        about += "" if plain else f" (default: {value})"
        groups.get(field.name, parser).add_argument(
            flag(field.name), default=field.default, help=about.replace("%", "%%"), **taken
        )
    parser.set_defaults(**(defaults or {}))
    values = vars(parser.parse_args(argv))
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def convert(cls: type, entries: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of fields that were saved as JSON, each in the type of its field.

    An entry is accepted if its text would be accepted on the command line; null is left out.

    Args:
        cls: the options dataclass.
        entries: the saved value of each field.
        where: how the message begins, such as the path of the file.

    Raises:
        ValueError: if there is no such field, or a value is not of its type.
    """
    known: Any = cls
    hints = typing.get_type_hints(cls)
    hints = {f.name: hints[f.name] for f in dataclasses.fields(known)}
    entries = {name: value for name, value in entries.items() if value is not None}
    words = {f.name: f.metadata.get("words", {}) for f in dataclasses.fields(known)}
    spoken = lambda name, value: words[name].get(value, value) if isinstance(value, str) else value
    values = {
        name: _converted(f"{where}: argument {flag(name)}", hints[name], spoken(name, value))
        for name, value in entries.items()
        if name in hints
    }
    if unknown := [name for name in entries if name not in hints]:
        given = " ".join(f"{flag(name)}={entries[name]}" for name in unknown)
        near = nearest(flag(unknown[0]), map(flag, hints))
        raise ValueError(f"{where}: unrecognized arguments: {given}{near} See --help.")
    return values


def _converted(where: str, hint: Any, value: Any) -> Any:
    """A saved value in the type of its field."""
    plain = _without_none(hint)
    if typing.get_origin(plain) is tuple:
        if isinstance(value, list | tuple) and value:
            return tuple(_converted(where, typing.get_args(plain)[0], each) for each in value)
        raise ValueError(f"{where}: invalid list: {value!r}. See --help.")
    if plain is bool or isinstance(value, bool):
        if plain is bool and isinstance(value, bool):
            return value
        raise ValueError(f"{where}: invalid {plain.__name__} value: {value!r}. See --help.")
    if typing.get_origin(plain) is Literal:
        if value in typing.get_args(plain):
            return value
        names = typing.get_args(plain)
        raise ValueError(
            f"{where}: invalid choice: {value!r} (choose from {', '.join(map(repr, names))})"
            f"{nearest(str(value), names)} See --help."
        )
    try:
        return _reader(plain)(str(value))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{where}: {error}. See --help.") from error
    except ValueError as error:
        raise ValueError(
            f"{where}: invalid {plain.__name__} value: {str(value)!r}. See --help."
        ) from error


def _argument(hint: Any, words: Mapping[str, Any] = types.MappingProxyType({})) -> dict[str, Any]:
    """The keywords of `add_argument` for a type, and for words in place of values."""
    hint = _without_none(hint)
    if words:
        read = _reader(hint)
        metavar = "|".join([hint.__name__.upper(), *words])
        return {
            "type": lambda text: words[text] if text in words else read(text),
            "metavar": metavar,
        }
    if typing.get_origin(hint) is tuple:
        return _argument(typing.get_args(hint)[0]) | {"nargs": "+"}
    if typing.get_origin(hint) is Literal:
        return {"choices": typing.get_args(hint)}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": _reader(hint), "metavar": hint.__name__.upper()}


def _without_none(hint: Any) -> Any:
    """X for the type `X | None`, and any other type as it is."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _reader(hint: Any) -> Callable[[str], Any]:
    """What makes a value of a type from a word of the command line."""
    return _path if hint is Path else hint


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a path must not be empty")
    try:
        return as_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error
