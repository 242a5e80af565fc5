"""Digests, since neither file systems nor Orbax notice a bit that has flipped."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.sealed import SIZE, Damaged


def array_digest(array: np.ndarray) -> str:
    """blake2b of an array's bytes in C order."""
    data: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.blake2b(data, digest_size=SIZE).hexdigest()


def file_digests(directory: Path, *, flush: bool = False) -> dict[str, dict[str, Any]]:
    """Size in bytes and blake2b of every file below `directory`, by relative path.

    With `flush` the files and directories are on the disk, not only on their way, on return.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SIZE))
                if flush:
                    os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            found[path.relative_to(directory).as_posix()] = {
                "size": size,
                "digest": digest.hexdigest(),
            }
        elif flush and path.is_dir():
            flush_directory(path)
    return found


def flush_directory(path: Path) -> None:
    """Have the names in a directory on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_files(
    directory: Path, saved: Mapping[str, Mapping[str, Any]], *, but: Sequence[str] = ()
) -> None:
    """Require that the files below `directory`, `but` some, are as they were saved, bit for bit.

    Raises:
        Damaged: naming the first file that is missing, truncated, altered or too many, or that
            can't be read.
    """
    try:
        found = file_digests(directory)
    except OSError as error:
        raise Damaged(f"{error.filename} cannot be read: {error.strerror}") from error
    found = {name: found[name] for name in found if name not in but}
    for name in sorted(saved.keys() | found.keys()):
        if name not in found:
            raise Damaged(f"{name} is missing")
        if name not in saved:
            raise Damaged(f"{name} was not saved with it")
        want, got = saved[name], found[name]
        if got["size"] != want["size"]:
            raise Damaged(f"{name} has {got['size']} bytes of {want['size']}")
        if got["digest"] != want["digest"]:
            raise Damaged(f"{name} was altered, blake2b {got['digest'][:8]}...")
