"""A frozen dataclass as a command line: one field, one option, defaults in one place.

@dataclass(frozen=True)
class Config:
    epochs: int = option(4, "passes over the training data")
    optimizer: Literal["sgd", "adam"] = option("adam", "what makes updates of gradients")

config = parse(Config, ["--epochs", "2"])

A configuration is saved as JSON, and read again through the same options.
"""

import argparse
import dataclasses
import json
import math
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from gradtx.files import write_atomically

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """End the process with status 2."""
        self.exit(2, f"error: {self.prog}: {message}. See --help.\n")


def option(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    below: float = math.inf,
    kept: bool = True,
    free: bool = False,
) -> Any:
    """A field of a configuration, with its default and what `--help` says of it.

    With `least`, `check_ranges` requires a number in [least, below). `kept=False` is for what a run
    that goes on does not take over, and `free=True` for what may be another then: they say where a
    run is made, not what it makes.
    """
    about = {"help": help, "least": least, "below": below, "kept": kept, "free": free}
    return dataclasses.field(default=default, metadata=about)


def flag(name: str) -> str:
    """The option of a field.

    >>> flag("batch_size")
    '--batch-size'
    """
    return "--" + name.replace("_", "-")


def check_ranges(config: Any, where: str) -> None:
    """Require of the numbers in `config` what their options say; None is always right.

    Raises:
        ValueError: beginning with `where`.
    """
    for field in dataclasses.fields(config):
        value, least = getattr(config, field.name), field.metadata.get("least")
        if value is None or least is None:
            continue
        below = field.metadata["below"]
        if not least <= value < below:
            raise ValueError(
                f"{where}: `{flag(field.name)}` must be in [{least}, {below}); got {value}. Choose"
                " a value inside."
            )


def check_ignored(argv: Sequence[str], idle: Mapping[str, Collection[str]], where: str) -> None:
    """Require that `argv` has no option that is idle; `idle` is fields by what does not heed them.

    Raises:
        ValueError: beginning with `where`.
    """
    given = {word.split("=")[0] for word in argv}
    for what, names in idle.items():
        if found := sorted(given & set(map(flag, names))):
            raise ValueError(
                f"{where}: `{what}` has no use for some options; got {', '.join(found)}. Leave"
                " out one or the other."
            )


def parse(
    cls: type[T], argv: Sequence[str] | None = None, *, prog: str = "", description: str = ""
) -> T:
    """Read the options of `cls` from `argv`, by default the process's own.

    A field `batch_size: int` is the option `--batch-size INT`; a `bool` is a switch, with its
    `--no-` form; a `Literal` lists its choices; `X | None` is an X that may be left out. An option
    that does not exist, or a value that does not parse, ends the process with status 2 and a line
    that names it.
    """
    parser = Parser(
        prog=prog or None,
        description=description,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=30, width=100
        ),
    )
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        shown = "" if field.default in (None, "") else f" (default: {field.default})"
        parser.add_argument(
            flag(field.name),
            default=field.default,
            help=(field.metadata.get("help", "") + shown).replace("%", "%%"),
            **_kind(hints[field.name]),
        )
    return cls(**vars(parser.parse_args(argv)))


def _kind(hint: Any) -> dict[str, Any]:
    """The keywords of `add_argument` for a type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is Literal:
        return {"choices": typing.get_args(hint)}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": _path if hint is Path else hint, "metavar": hint.__name__.upper()}


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a path must not be empty")
    return Path(text)


def write_config(config: Any, path: Path, **facts: Any) -> None:
    """Save the fields of `config`, and `facts` beside them, as JSON: whole or not at all."""
    entries = dataclasses.asdict(config) | facts
    write_atomically(path, json.dumps(entries, indent=2, default=str) + "\n")


def read_words(path: Path, *, without: Collection[str] = ()) -> list[str]:
    """The entries that `write_config` saved as words of a command line, but for those `without`.

    With more words after them, `parse` checks and overrides what was saved.

    Raises:
        ValueError: if the file is not there or is not JSON.
    """
    try:
        saved = json.loads(path.read_text())
        options = {name: saved[name] for name in saved if name not in without}
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"read_words: `path` must be a saved configuration; got {path}, which cannot be read"
            f" ({type(error).__name__}). Name another."
        ) from error
    return [_word(name, value) for name, value in options.items() if value is not None]


def _word(name: str, value: Any) -> str:
    """An entry as on the command line."""
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    return f"{flag(name)}={value}"
