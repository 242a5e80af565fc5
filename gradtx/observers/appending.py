"""Files that grow while a fit runs, also on a disk that is full for a while."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Appending:
    """A file that pieces are appended to, whole or not at all, and those that wait for it."""

    path: Path
    waiting: list[bytes] = field(default_factory=list)

    def write(self, pieces: Iterable[bytes] = ()) -> None:
        """Append what waits and `pieces`; raises OSError, and keeps them, if that fails."""
        self.waiting += pieces
        if not self.waiting:
            return
        data = b"".join(self.waiting)
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(data) != len(data):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.waiting = []

    def try_to_write(self, pieces: Iterable[bytes]) -> None:
        """The same, but what fails is tried again with the next pieces."""
        with suppress(OSError):
            self.write(pieces)
