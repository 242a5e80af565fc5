"""Writing files: whole or not at all, and appending to one that grows."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


def printable(name: str | Path) -> str:
    r"""A file name as text that every terminal and file takes, whatever bytes it is of.

    What is not UTF-8, and characters that cannot be printed, become escapes.

    >>> print(printable(os.fsdecode(b"caf\xe9")), printable("two\nlines"))
    caf\xe9 two\nlines

    Args:
        name: the name or the path, as Python has it.
    """
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Write a file whole or not at all, in place of the one that may be there.

        .NAME.new = data        flush it to the disk        rename it to NAME

    A reader sees the old file or the new one, never a part. What fails leaves the old file as it
    was and nothing beside it; only a killed process leaves the hidden file, which the next write
    replaces.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     write_atomically(Path(name) / "x.txt", "new")
    ...     [(path.name, path.read_text()) for path in Path(name).iterdir()]
    [('x.txt', 'new')]

    Args:
        path: the file; its directory must be there. Only one process or thread may write it at a
            time.
        data: all that is to be in it; text is written in UTF-8.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


@dataclass
class Appending:
    """A file that pieces are appended to, each call's whole or not at all.

    What cannot be written, as on a disk that is full for a while, waits for the next call.

    Args:
        path: the file; it is made when the first piece is written.
        waiting: pieces that are still to be written, in their order.
    """

    path: Path
    waiting: list[bytes] = field(default_factory=list)

    def write(self, pieces: Iterable[bytes] = ()) -> None:
        """Append what waits, then `pieces`.

        Args:
            pieces: what to append, in order.

        Raises:
            OSError: if that fails; all pieces then wait.
        """
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
        """Append as `write`, but without an error: what fails waits for the next call.

        Args:
            pieces: what to append, in order.
        """
        with suppress(OSError):
            self.write(pieces)
