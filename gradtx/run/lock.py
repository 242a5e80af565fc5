"""The lock of a run's directory: one process writes there, as long as it lives."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from gradtx.parallel.processes import say

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "run.lock"
PATIENCE = 1.0  # seconds within which a holder has written who it is


def lock(directory: Path, where: str) -> Callable[[], None]:
    """Take a directory for this process, or refuse at once; returns what lets go of it.

    The lock is the operating system's, on the file `run.lock`, so it ends with the process that
    holds it, however that ends: a file that a killed process, or another host, has left behind
    counts for nothing, whoever has that process's number now. Where the file system has no locks, a
    line says so.

    Args:
        directory: of the run.
        where: how a message begins that it is in use, such as "train.py: `--out`".

    Raises:
        ValueError: beginning with `where` and naming the other process, if it is in use.
        OSError: if the file can't be written.
    """
    path = directory / NAME
    if fcntl is None:
        return lambda: None
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(handle)
            os.close(handle)
            raise ValueError(
                f"{where} must not be in use; got {directory}, which {holder} writes to. Wait until"
                " that has ended, or name another directory."
            ) from None
        except OSError as error:
            say(
                f"Warning: {directory} cannot be locked ({error.strerror}): see to it that no other"
                " run writes there."
            )
        if _is_at(handle, path):
            break
        os.close(handle)  # whoever held it has just removed it
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def let_go() -> None:
        if _is_at(handle, path):
            path.unlink(missing_ok=True)
        os.close(handle)

    return let_go


def _holder(handle: int) -> str:
    """Who holds the lock, as that process wrote when it took it."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        if said := os.pread(handle, 200, 0).decode(errors="replace").strip():
            return said.removesuffix(f" on {socket.gethostname()}")
        time.sleep(0.01)
    return "another process"


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
