"""Saving a checkpoint."""

import errno
import json
import math
import operator
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from gradtx.checkpoint.digests import array_digest, file_digests
from gradtx.checkpoint.layout import Entry, next_number, publish, remove_leftover
from gradtx.checkpoint.leaves import (
    Leaves,
    check_leaves,
    copy_leaf,
    host_values,
    kinds_of,
    leaves_of,
    read_target,
    spec_of,
)
from gradtx.checkpoint.meta import VERSION, Meta, as_json, write_meta
from gradtx.checkpoint.orbax import begin_write, orbax_version, read
from gradtx.files import as_path
from gradtx.kinds import Kind, always, checked, is_number

Figure = Annotated[float, Kind("a number", is_number)]  # NaN, too: what was not measured
# In a row also an array of numbers, as a list, of lists if it has several axes.
Column = Annotated[Any, Kind("a number, or lists of numbers", lambda x: _are_numbers(x))]
Step = Annotated[int, Kind("a whole number of at least 0", always, lambda x: _number(x) >= 0)]
OVERHEAD = 2**18  # bytes of a checkpoint beside its arrays, more than enough


@checked
def save(
    directory: str | Path,
    state: Any,
    *,
    step: Step,
    must_match: Mapping[Any, Any] | None = None,
    rows: Sequence[Mapping[str, Column]] = (),
    score: Figure | None = None,
) -> Path:
    """Save `state` as the newest checkpoint of `directory`, and return its path when it is valid.

    Args:
        directory: the directory of checkpoints; it is made if need be.
        state: any pytree of arrays.
        step: the number of updates made, at least 0.
        must_match: what a restore compares, nested dicts for JSON.
        rows: the epoch table so far.
        score: how good the state is, greater being better.

    Raises:
        TypeError, ValueError, OSError: as `start_save`.
    """
    about: dict[str, Any] = {"must_match": must_match, "rows": rows, "score": score}
    return start_save(directory, state, step=step, **about).result()


@checked
def start_save(
    directory: str | Path,
    state: Any,
    *,
    step: Step,
    must_match: Mapping[Any, Any] | None = None,
    rows: Sequence[Mapping[str, Column]] = (),
    score: Figure | None = None,
) -> Future[Path]:
    """Begin to save `state`; the future gives the path when the checkpoint is valid.

    The state is copied, so its buffers may be donated from now on.

    A digest of every leaf and of every file is kept. A leaf whose values are spread over several
    processes has none of its own; its files have. With several processes all must call this, in the
    same order, with one directory that all of them see; the first one makes the checkpoint valid.

    Only one save may be under way at a time. One that fails leaves nothing behind; the future
    raises what went wrong.

    Args:
        directory: the directory of checkpoints; it is made if need be.
        state: any pytree of arrays: of JAX, sharded in any way, or of NumPy.
        step: the number of updates made, at least 0.
        must_match: what a restore compares, nested dicts for JSON; what JSON lacks becomes text.
        rows: the epoch table so far, a dict by column for each epoch, of numbers and lists of them.
        score: how good the state is, greater being better; None or NaN for none.

    Raises:
        TypeError: for a leaf that is no array or of a dtype that can't be saved, with its path; if
            `rows` has other values than numbers and lists of them, or `score` is none.
        ValueError: if `step` is no whole number of at least 0, for an array that was deleted, and
            for a path that another leaf has too.
        OSError: if the directory is a file or can't be written.
    """
    step = _number(step)
    leaves = leaves_of(state)
    check_leaves(leaves)
    copies = {name: copy_leaf(leaf) for name, leaf in leaves.items()}
    directory = as_path(directory).absolute()
    _check_no_file(directory)
    entry = Entry(_agreed_number(directory), step)
    hidden = entry.hidden(directory)
    meta = partial(
        Meta,
        version=VERSION,
        step=step,
        must_match=as_json(must_match or {}),
        rows=json.loads(json.dumps([dict(row) for row in rows], default=float)),
        score=None if score is None or math.isnan(score) else float(score),
        kinds=kinds_of(state),
        wrote=_versions(),
    )
    if jax.process_index() == 0:
        remove_leftover(hidden)
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        if jax.process_count() == 1:
            check_space(directory, sum(x.nbytes for x in copies.values()))
        # Orbax knows no arrays without elements.
        finish = begin_write(hidden / "state", {k: v for k, v in copies.items() if v.size})
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    pool = ThreadPoolExecutor(1, "checkpoint")
    future = pool.submit(_commit, directory, entry, finish, leaves, copies, meta)
    pool.shutdown(wait=False)
    return future


def _number(step: Any) -> int:
    """`step` as an integer of Python's, or -1; the name of one below 0 could not be read back."""
    try:
        return -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        return -1


def _check_no_file(directory: Path) -> None:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(
            f"checkpoint: {directory} must be a directory, or none yet; got a file at {there}. Name"
            " another directory, or remove the file."
        )


def check_space(directory: Path, size: int) -> None:
    """Raise OSError if the disk has no room for a checkpoint of `size` bytes.

    Without it Orbax would find out in the midst of writing, with noise on all channels.
    """
    if shutil.disk_usage(directory).free < size + OVERHEAD:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


def _commit(directory: Path, entry: Entry, finish: Any, specs: Leaves, copies: Leaves, meta: Any):
    """Wait for Orbax, add what it does not write, and make the checkpoint valid."""
    hidden = entry.hidden(directory)
    try:
        finish()
        if jax.process_index() == 0:
            leaves = {name: spec_of(x) | _digest(copies[name]) for name, x in specs.items()}
            _check_readable(hidden / "state", copies, leaves)
            files = file_digests(hidden, flush=True)
            write_meta(hidden, meta(leaves=leaves, files=files))
            publish(directory, entry)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return entry.path(directory)


def _check_readable(path: Path, copies: Leaves, saved: Mapping[str, Any]) -> None:
    """Raise OSError unless Orbax opens what it has written, and has the smallest leaf right.

    Not with several processes, which would have to read together.
    """
    written = [name for name, x in copies.items() if x.size]
    if not written or jax.process_count() > 1:
        return
    name = min(written, key=lambda name: copies[name].nbytes)
    try:
        array = read(path, {name: read_target(copies[name])})[name]
    except Exception as error:  # Orbax raises whatever its parts raise
        reason = " ".join(str(error).split())[:100]
        raise OSError(f"it could not be opened again: {reason}") from error
    if _digest(array)["digest"] != saved[name]["digest"]:
        raise OSError(f"{name} was read again with other values")


def _digest(leaf: Any) -> dict[str, str | None]:
    values = host_values(leaf)
    return {"digest": None if values is None else array_digest(values)}


def _agreed_number(directory: Path) -> int:
    """The number of the new checkpoint, the same in all processes."""
    number = next_number(directory)
    if jax.process_count() == 1:
        return number
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(number)))


def _versions() -> dict[str, str]:
    try:
        own = version("gradtx")
    except PackageNotFoundError:  # run from its source
        own = "source"
    return {"gradtx": own, "jax": jax.__version__, "orbax": orbax_version()}


def _are_numbers(x: Any) -> bool:
    return all(map(_are_numbers, x)) if isinstance(x, list) else is_number(x)
