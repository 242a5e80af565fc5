"""What a cache keeps between runs: JSON with its digest; and one process at a time makes it."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gradtx.files import write_atomically

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    fcntl = None


def write_stored(path: Path, value: Any) -> None:
    """Write a JSON value after a line with the sha256 of its text, whole or not at all.

    Args:
        path: the file; its directory is made if need be.
        value: what JSON takes.

    Raises:
        OSError: if it cannot be written.
    """
    text = json.dumps(value).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


def read_stored(path: Path) -> Any:
    """What `write_stored` has written; None if the file is absent or damaged.

    Args:
        path: the file.
    """
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
        return json.loads(text) if digest == hashlib.sha256(text).hexdigest().encode() else None
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Keep other processes out of the block; a killed process lets go by itself.

    Args:
        path: the file that is locked, made if need be.
        waiting: called before this process has to wait for another.

    Raises:
        OSError: if the file cannot be made.
    """
    with path.open("w") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
