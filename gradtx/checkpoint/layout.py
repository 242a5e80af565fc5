"""The directory of checkpoints: how they are named, written, made valid and removed.

    000002-step-400/state/      what Orbax wrote
    000002-step-400/meta.json   all else, and the digests
    .000003-step-500.tmp/       half-written or half-removed; counts for nothing

The first number rises by one with every save, so the newest checkpoint has the greatest. One
becomes valid by being renamed, when all of it is on the disk.
"""

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from gradtx.checkpoint.digests import flush_directory
from gradtx.files import as_path
from gradtx.kinds import checked

NAME = re.compile(r"(\d{6,})-step-(\d+)")
HIDDEN = re.compile(r"\.\d{6,}-step-\d+\.tmp")
# All that is ever written into a checkpoint's directory.
OWN = re.compile(r"state(\.orbax-checkpoint-tmp.*)?|meta\.json|\.meta\.json\.new")


class Entry(NamedTuple):
    """A checkpoint by name; those that compare greater are newer.

    >>> Entry(2, 400).name, Entry(2, 400) < Entry(3, 100)
    ('000002-step-400', True)

    Args:
        number: counts the saves into the directory, from 1 on.
        step: the number of steps done, from 0 on.
    """

    number: int
    step: int

    @property
    def name(self) -> str:
        """The directory's name."""
        return f"{self.number:06}-step-{self.step}"

    def path(self, directory: Path) -> Path:
        """Where it is.

        Args:
            directory: the directory of checkpoints.
        """
        return directory / self.name

    def hidden(self, directory: Path) -> Path:
        """Where it is while it is written or removed.

        Args:
            directory: the directory of checkpoints.
        """
        return directory / f".{self.name}.tmp"


@checked
def entries(directory: str | Path) -> list[Entry]:
    """The checkpoints of a directory, oldest first; none if there is no such directory.

    Whether they are intact is not looked at; `newest_intact` does that.

    Args:
        directory: the directory of checkpoints.
    """
    directory = as_path(directory)
    if not directory.is_dir():
        return []
    matches = [NAME.fullmatch(path.name) for path in directory.iterdir() if path.is_dir()]
    return sorted(Entry(int(m[1]), int(m[2])) for m in matches if m)


def next_number(directory: Path) -> int:
    """The number of the checkpoint that is saved next."""
    found = entries(directory)
    return found[-1].number + 1 if found else 1


def publish(directory: Path, entry: Entry) -> Path:
    """Make a checkpoint valid that has been written under its hidden name."""
    flush_directory(entry.hidden(directory))
    path = entry.hidden(directory).rename(entry.path(directory))
    flush_directory(directory)
    return path


def remove(directory: Path, entry: Entry) -> None:
    """Remove a checkpoint; it is invalid as soon as this begins.

    A directory that is named like one, but has no meta.json or has files of somebody else, stays.
    """
    path, hidden = entry.path(directory), entry.hidden(directory)
    if _is_own(path) and (path / "meta.json").exists() and not os.path.lexists(hidden):
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def remove_leftover(path: Path) -> None:
    """Remove what a killed process has left half-written under a hidden name.

    Raises:
        FileExistsError: if it is something else, which stays.
    """
    if not os.path.lexists(path):
        return
    if not _is_own(path):
        raise FileExistsError(
            f"checkpoint: {path} must be free; got something that is no checkpoint's. Move it away."
        )
    if any(path.iterdir()):
        shutil.rmtree(path, ignore_errors=True)


def _is_own(path: Path) -> bool:
    """Whether a path is a directory with nothing in it but what a checkpoint has."""
    if path.is_symlink() or not path.is_dir():
        return False
    return all(OWN.fullmatch(inside.name) for inside in path.iterdir())


@checked
def clean(directory: str | Path) -> list[str]:
    """Remove what killed processes have left half-written; returns the names.

    What only has such a name, and has files of somebody else, stays. Not to be called while another
    process saves into the directory.

    Args:
        directory: the directory of checkpoints; it need not be there.
    """
    directory = as_path(directory)
    if not directory.is_dir():
        return []
    left = [p for p in directory.iterdir() if HIDDEN.fullmatch(p.name) and _is_own(p)]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in left]
