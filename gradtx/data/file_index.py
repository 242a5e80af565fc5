"""What is in image files: digests and sizes, kept from one time to the next.

A file is read again only if its name, size or one of its times has changed: the time of its
content, or of its entry in the file system, which copying tools do not set back. What was changed
within the last seconds is read again too, since the next change could come within the same tick of
the clock.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gradtx.data.image_file import FORMATS, ImageError, open_image
from gradtx.sealed import Damaged, read_json, write_json

VERSION = [1, list(FORMATS)]
SETTLED = 2 * 10**9  # ns; no file system's clock is coarser


class Indexed(NamedTuple):
    """What is known of an image file.

    Args:
        digest: the sha256 of its content, in hexadecimal digits.
        short_side: the smaller of height and width, in pixels.
    """

    digest: str
    short_side: int


def index_files(
    paths: Sequence[Path], *, store: Path | None = None
) -> list["Indexed | ImageError"]:
    """The digest and the size of each image file, or why it is none.

    Args:
        paths: the files.
        store: a file in which they are kept, made if need be; None keeps nothing. What is wrong
            with it, or with its directory, only makes it useless.
    """
    known = {} if store is None else read_store(store)
    began = time.time_ns()

    def index(path: Path) -> tuple[Indexed | ImageError, list | None]:
        try:
            stamp = stamp_of(path)
            if stamp is not None and (found := known.get(str(path))) and found[0] == stamp:
                return Indexed(*found[1]), found
            image = open_image(path)
            indexed = Indexed(image.digest, image.short_side)
            image.verify()
        except ImageError as error:
            return error, None
        settled = stamp is not None and max(stamp[1:]) < began - SETTLED
        return indexed, [stamp, list(indexed)] if settled else None

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(index, paths))
    if store is not None:
        kept = {str(path): entry for path, (_, entry) in zip(paths, found, strict=True) if entry}
        if kept != known:
            with suppress(OSError):
                store.parent.mkdir(parents=True, exist_ok=True)
                write_json(store, {"version": VERSION, "files": kept}, indent=None)
    return [indexed for indexed, _ in found]


def stamp_of(path: Path) -> list[int] | None:
    """The size and the times of a file, in ns; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def read_store(store: Path) -> dict[str, list]:
    """What is kept in a file; nothing if it is damaged, or of another version."""
    try:
        found = read_json(store)
    except Damaged:
        return {}
    return found["files"] if found.get("version") == VERSION else {}


def combine(parts: Iterable[bytes]) -> str:
    """16 hex digits of the sha256 of all parts, which is another for any other division."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:16]
