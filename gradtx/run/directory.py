"""The directory of a run: made, read again, and resumed."""

import dataclasses
import errno
import os
import time
import tomllib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from gradtx.checkpoint.layout import entries
from gradtx.checkpoint.meta import check_must_match, read_meta
from gradtx.config import check_ignored, convert, flag, parse
from gradtx.files import as_path
from gradtx.kinds import checked
from gradtx.parallel.processes import from_first, is_first
from gradtx.run.errors import short
from gradtx.run.lock import lock
from gradtx.run.options import RunOptions
from gradtx.sealed import Altered, Damaged, read_json, write_json

C = TypeVar("C", bound=RunOptions)

BEST = "best"  # in the directory of a search by a population: that of its best member
LONGEST = 4096 - 256  # bytes of a path in which Orbax can still make its own
# Entries of config.json beside the options.
BESIDE = ("data", "jax", "momentum_names", "versions", "device")


def take_directory(options: RunOptions, *, resuming: bool) -> tuple[Path, Callable[[], None]]:
    """The directory that the run writes to, made and locked, and what lets go of it.

    One that is named by the time is this run's own, even if others begin in the same second. Of a
    job of several processes the first takes it, for all.

    Args:
        options: the options of the run; `out` names it, or else `name` and the time.
        resuming: whether the run in it goes on.

    Raises:
        ValueError: if it can't be made, or another process writes there.
    """
    now = time.strftime("%Y%m%d-%H%M%S", time.localtime(from_first(int(time.time()))))
    named = as_path(options.out or Path("runs") / f"{options.name}-{now}")
    number, let_go, problem = 0, lambda: None, None
    if is_first():
        try:
            number = _make(named, options)
            where = f"{options.PROG}: `{'--resume' if resuming else '--out'}`"
            let_go = lock(_numbered(named, number), where)
        except (ValueError, OSError) as error:
            number, problem = 0, error
    number = from_first(number)
    if not number:
        raise problem or ValueError(
            f"{options.PROG}: process 0 must have the run's directory; got none. See what it said."
        )
    return _numbered(named, number), let_go


def _make(named: Path, options: RunOptions) -> int:
    """Make the directory; returns which of that name it is, from 1 on."""
    number = 1
    while True:
        try:
            if len(os.fsencode(named.absolute())) > LONGEST:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            _numbered(named, number).mkdir(parents=True, exist_ok=options.out is not None)
            return number
        except OSError as error:
            if options.out is None and isinstance(error, FileExistsError):
                number += 1
                continue
            raise ValueError(
                f"{options.PROG}: `--out` must be a directory that can be made; got"
                f" {short(str(named))} ({error.strerror}). Name another."
            ) from error


def _numbered(named: Path, number: int) -> Path:
    return named if number == 1 else named.with_name(f"{named.name}-{number}")


def write_config(options: RunOptions, path: Path, **beside: Any) -> None:
    """Save options as JSON with a digest: whole or not at all.

    Args:
        options: the options; each field is an entry.
        path: the file.
        **beside: more entries.
    """
    write_json(path, dataclasses.asdict(options) | beside)


def read_entries(path: Path, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The entries of a file that `write_config` has written, as they are in JSON.

    Args:
        path: the file.
        without: the names of entries to leave out.

    Raises:
        ValueError: if the file is not there, is not a JSON object, or was altered.
    """
    try:
        saved = read_json(path)
    except Damaged as error:
        raise ValueError(
            f"read_entries: `path` must be a saved configuration; got {path}, which cannot be read"
            f" (got {error}). Name another."
        ) from error
    return {name: value for name, value in saved.items() if name not in without}


@checked
def read_config(cls: type[C], run: Path, argv: Sequence[str] = (), where: str = "`RUN`") -> C:
    """The options of the run in a directory, with what a command line changes of them.

    Args:
        cls: the dataclass of the options.
        run: the directory.
        argv: the words of the command line.
        where: how a message names the directory.

    Raises:
        ValueError: if `run` is not the directory of a run, or its config.json has an option that
            does not exist, a value that an option can't have, or was altered. Who edits it on
            purpose removes its entry `digest`.
    """
    left_out = _of_one_run(cls)
    run = as_path(run)
    path = run / "config.json"
    altered = False
    try:
        saved = read_json(path)
    except Altered as error:
        saved, altered = error.entries, True
    except Damaged as error:
        raise ValueError(
            f"{cls.PROG}: {where} must be the directory of a run; got {short(str(run))}, whose"
            f" config.json cannot be read: got {error}. Name another, or put that file back as it"
            " was."
        ) from error
    options = {name: value for name, value in saved.items() if name not in (*BESIDE, *left_out)}
    saved = convert(cls, options, where=str(path))
    try:
        cls(**saved)  # checks the values as they are, before the command line changes any
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if altered:
        _check_as_saved(cls(**saved), run)
        raise ValueError(
            f"{path}: the options must be as the run wrote them; got others, which do not have the"
            " file's `digest`. Put the file back as it was; if the change is yours, remove that"
            " entry."
        )
    return parse(cls, argv, prog=cls.PROG, defaults=saved)


def with_file(cls: type[C], path: Path, argv: Sequence[str]) -> C:
    """The options of a file, with what a command line changes of them.

    Args:
        cls: the dataclass of the options.
        path: the config.json of a run, another file of that form, or one of TOML, in which an
            option may be written as on the command line (batch-size) or as a field (batch_size).
        argv: the words of the command line.

    Raises:
        ValueError: if it can't be read, was altered, or has an option that does not exist, a value
            that an option can't have, or, in TOML, one that has no effect.
    """
    by_hand = path.suffix == ".toml"
    try:
        if by_hand:
            saved: dict[str, Any] = tomllib.loads(path.read_text())
            saved = {name.replace("-", "_"): value for name, value in saved.items()}
        else:
            saved = read_json(path)
    except (Damaged, OSError, ValueError) as error:
        raise ValueError(
            f"{cls.PROG}: `--config` must be a file of options, as JSON or TOML; got"
            f" {short(str(path))}, which cannot be read: {error}. Name another; if you have changed"
            " a run's config.json, remove its entry `digest`."
        ) from error
    left_out = () if by_hand else (*BESIDE, *_of_one_run(cls))
    saved = {name: value for name, value in saved.items() if name not in left_out}
    values = convert(cls, saved, where=str(path))
    options = parse(cls, argv, prog=cls.PROG, defaults=values)
    if by_hand:
        check_ignored(list(map(flag, values)), options.ignored, str(path))
    return options


def _of_one_run(cls: type[RunOptions]) -> list[str]:
    """The options that another run does not take over from config.json."""
    return [f.name for f in dataclasses.fields(cls) if not f.metadata["resumable"]]


def _check_as_saved(options: RunOptions, run: Path) -> None:
    """Name what an altered config.json has other than the newest checkpoint that can tell.

    Raises:
        CheckpointError: naming the options that differ.
    """
    for entry in reversed(entries(run / "checkpoints")):
        with suppress(Damaged):
            saved = read_meta(entry.path(run / "checkpoints")).must_match
            here = {"config": config_key(options), "data": saved.get("data")}
            return check_must_match(f"{run / 'config.json'}", saved, here)


def resumed_config(cls: type[C], given: C, argv: Sequence[str]) -> C:
    """The options of a run that begins from another, or goes on with it, by `--resume`.

    A new run, with another's parameters alone, may have other options; one that is resumed has
    those that it was begun with, except the overridable ones.

    Args:
        cls: the dataclass of the options.
        given: the options of the command line.
        argv: the words of the command line.

    Raises:
        ValueError: as `read_config`, if an option contradicts the run, or if it is a search.
    """
    run = given.resume or Path()
    if given.params_only:
        if (saved := read_config(cls, run, where="`--resume`")).is_search:
            raise ValueError(
                f"{cls.PROG}: `--params-only` takes the parameters of a training; got"
                f" {search_in(run, saved)}"
            )
        return read_config(cls, run, argv, "`--resume`")
    options = read_config(cls, run, [*argv, f"--out={run}"], "`--resume`")
    overridable = {flag(f.name) for f in dataclasses.fields(cls) if f.metadata["overridable"]}
    others = sorted({word.split("=")[0] for word in argv if word.startswith("--")} - overridable)
    if others:
        raise ValueError(
            f"{cls.PROG}: `--resume` takes all options from the run; got {', '.join(others)} too."
            " Leave them out, or begin anew from its parameters with `--params-only`."
        )
    if options.is_search and not options.search:
        raise ValueError(
            f"{cls.PROG}: `--resume` goes on with a training; got {search_in(run, options)}"
        )
    return options


def search_in(run: Path, options: RunOptions) -> str:
    """What a message says of a run that is a search, where a training is wanted.

    Args:
        run: its directory.
        options: its options.
    """
    if options.search:
        return f"{run}, a search. Its best member is a run of its own: name {run / BEST}."
    return f"{run}, a search. Name another run."


def config_key(options: RunOptions) -> dict[str, Any]:
    """The options that must be the same when a run is resumed: they decide what it makes.

    Args:
        options: the options of the run.
    """
    fields = dataclasses.fields(options)
    names = [f.name for f in fields if f.metadata["resumable"] and not f.metadata["overridable"]]
    return {name: getattr(options, name) for name in names}
