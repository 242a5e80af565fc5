"""Files: paths as users write them, writing whole or not at all, appending to one that grows."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path("~/.cache/gradtx")  # what can be made again


def as_path(path: str | bytes | os.PathLike[str]) -> Path:
    """A path as a user writes it: `~` is the home directory, and `~NAME` that of a user NAME.

    Every path that is handed to gradtx goes through it. Nothing else has a meaning: all other
    names are taken as they are, `~NAME` too where there is no such user.

    >>> as_path("a/~/b*[c]")
    PosixPath('a/~/b*[c]')

    Args:
        path: text, bytes as the file system has them, or a path object.

    Raises:
        ValueError: for `~` where there is no home directory, and for a NUL character, which no
            name has.
    """
    path = os.fsdecode(path)
    if "\0" in path:
        raise ValueError(
            f"path: a name must have no NUL character; got {path!r}. Name another file."
        )
    found = Path(os.path.expanduser(path))
    if found.parts[:1] == ("~",) and path.startswith("~"):
        raise ValueError(
            f"path: `~` must stand for a home directory; got {path}, and there is none (HOME is not"
            " set, and the user has no entry in passwd). Set HOME, or write the path in full."
        )
    return found


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
        data: all that is to be in it; text is written in UTF-8, with an
            escape for a letter that has no code there, as in a name that is no UTF-8.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    path = as_path(path)
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
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
