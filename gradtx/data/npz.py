"""Reading .npz files of unknown origin: nothing is unpickled, and sizes are known before unpacking.

    limit = min(the memory of the machine, max(2 GiB, 20 times the size of the file))

Images compress to a half or a tenth of their size; a file of a few megabytes that unpacks to many
gigabytes is damaged, or meant to do harm.
"""

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gradtx.data.archive import readable
from gradtx.data.errors import DataError
from gradtx.files import printable

ALWAYS = 2**31  # bytes that every file may unpack to
RATIO = 20


def read_npz(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Some arrays of an .npz file; nothing else in it is looked at.

    Args:
        path: the file.
        keys: the names of the arrays.

    Raises:
        DataError: if the file cannot be read, is something else, lacks an array or would take too
            much memory.
    """
    name = printable(path)
    try:
        if not path.is_file():
            raise DataError(f"arrays: there is no file {name}. Name an .npz file.")
        with path.open("rb") as file:
            return read_archive(file, name, keys)
    except OSError as error:
        raise DataError(
            f"arrays: {name} cannot be read ({error.strerror or error}). Name an .npz file that you"
            " may read."
        ) from error


def read_archive(file: BinaryIO, name: str, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of an open file."""
    # NumPy and its unpackers raise a mixture of errors on damaged files.
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:
        raise not_npz(name, keys, "a file that is none, or only its beginning") from error
    with archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        if not any(key in members for key in keys):
            raise not_npz(name, keys, "one of other files than arrays")
        for key in keys:
            if key not in members:
                raise DataError(
                    f"arrays: {name} must hold {', '.join(keys)}; it has no {key}. "
                    "Write it with `np.savez_compressed`."
                )
        try:
            check_size(archive, name, [members[key] for key in keys])
            return {key: read_member(archive, members[key]) for key in keys}
        except NotAnArray as error:
            raise not_npz(name, keys, str(error)) from error
        except (DataError, MemoryError):
            raise
        except Exception as error:
            why = " ".join(str(error).split())[:100]  # NumPy's may show the whole header
            raise not_npz(name, keys, f"one that is damaged ({why})") from error


class NotAnArray(Exception):
    """A member of an archive is not a plain array; the message says what it is."""


def check_size(archive: zipfile.ZipFile, name: str, members: Sequence[str]) -> None:
    """Raise an error if the arrays would take more memory than the module allows."""
    need = 0
    for member in members:
        with archive.open(member) as opened:
            shape, dtype = read_header(opened)
            need += math.prod(shape) * dtype.itemsize
    size = sum(archive.getinfo(member).compress_size for member in members)
    limit = max(ALWAYS, RATIO * size)
    limit = min(limit, memory() or limit)
    if need > limit:
        raise DataError(
            f"arrays: {name} must unpack to at most {readable(limit)}; got {readable(need)} by the"
            f" headers of its arrays, from {readable(size)}. Leave out images, or make them"
            " smaller."
        )


def memory() -> int:
    """The memory of the machine, in bytes; 0 where that is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def read_header(opened: Any) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the dtype of an array, by its header."""
    try:
        version = np.lib.format.read_magic(opened)
    except ValueError as error:
        raise NotAnArray("one of other files than arrays") from error
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise NotAnArray(f"one of arrays of version {version} of the format")
    shape, _, dtype = read[version](opened)
    if dtype.hasobject:
        raise NotAnArray("one with Python objects in it")
    if any(side < 0 for side in shape):
        raise NotAnArray(f"one that is damaged (a shape of {shape})")
    return shape, dtype


def read_member(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """One array, unpacked."""
    with archive.open(member) as opened:
        array = np.lib.format.read_array(opened, allow_pickle=False)
        if opened.read(1):  # only at its end is the checksum compared
            raise NotAnArray("one that is damaged (an array longer than its header says)")
        return array


def not_npz(name: str, keys: Sequence[str], got: str) -> DataError:
    """The error that says so."""
    return DataError(
        f"arrays: {name} must be an .npz archive of the plain arrays {', '.join(keys)}; got {got}."
        " Write it with `np.savez_compressed`."
    )
