"""One process of a machine at a time, for what all of them would make."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    fcntl = None


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
