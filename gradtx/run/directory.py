"""The directory of a run: made, read again, and gone on with."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from gradtx.config import flag, parse, read_words
from gradtx.parallel.processes import from_first
from gradtx.run.options import RunOptions

C = TypeVar("C", bound=RunOptions)

FACTS = ("data", "jax")  # in config.json beside the options


def make_directory(config: RunOptions) -> Path:
    """The directory that the run writes to, made.

    Raises:
        ValueError: if it can't be.
    """
    now = time.localtime(from_first(int(time.time())))
    out = config.out or Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S', now)}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{config.PROG}: `--out` must be a directory that can be made; got {out}"
            f" ({error.strerror}). Name another."
        ) from error
    return out


def read_config(cls: type[C], run: Path, argv: Sequence[str] = (), where: str = "`RUN`") -> C:
    """The configuration of the run in a directory, with what `argv` changes of it.

    Raises:
        ValueError: naming `where`, if `run` is not the directory of a run.
    """
    left = [field.name for field in dataclasses.fields(cls) if not field.metadata["kept"]]
    path = run / "config.json"
    try:
        words = read_words(path, without=(*FACTS, *left))
    except ValueError as error:
        raise ValueError(
            f"{cls.PROG}: {where} must be the directory of a run; got {run}, whose config.json"
            " cannot be read. Name another."
        ) from error
    parse(cls, words, prog=str(path))  # what is wrong with the file is said of the file
    return parse(cls, [*words, *argv], prog=cls.PROG)


def resumed_config(cls: type[C], given: C, argv: Sequence[str]) -> C:
    """The configuration of the run that `given`, from `argv`, goes on with or begins from.

    A new run, with another's parameters alone, may have other options; one that goes on has those
    that it was begun with, but for the free ones.

    Raises:
        ValueError: if an option contradicts the run, or it is a sweep.
    """
    run = given.resume or Path()
    if given.params_only:
        return read_config(cls, run, argv, "`--resume`")
    config = read_config(cls, run, [*argv, f"--out={run}"], "`--resume`")
    free = {flag(field.name) for field in dataclasses.fields(cls) if field.metadata["free"]}
    others = sorted({word.split("=")[0] for word in argv if word.startswith("--")} - free)
    if others:
        raise ValueError(
            f"{cls.PROG}: `--resume` takes all options from the run; got {', '.join(others)} too."
            " Leave them out, or begin anew from its parameters with `--params-only`."
        )
    if config.sweep or config.find_lr:
        raise ValueError(
            f"{cls.PROG}: `--resume` goes on with a training; got {run}, a search. Name another"
            " run."
        )
    return config


def config_key(config: RunOptions) -> dict[str, Any]:
    """The options that decide what a run makes, which must be the same when it goes on."""
    fields = dataclasses.fields(config)
    names = [f.name for f in fields if f.metadata["kept"] and not f.metadata["free"]]
    return {name: getattr(config, name) for name in names}
