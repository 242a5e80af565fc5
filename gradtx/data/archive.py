"""The archive a data set is prepared from: its record, its check and its download."""

import hashlib
import shutil
import threading
import urllib.request
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from gradtx.data.errors import DataError


@dataclass(frozen=True)
class Archive:
    """A published archive: where it is, what it must be, and how many images it has."""

    url: str
    size: int  # bytes
    sha256: str
    train: int  # images
    valid: int  # images
    short_side: int = 160  # of the largest image, in pixels

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def find_archive(archive: Archive, *, given: Path | None, data_dir: Path) -> Path | None:
    """The archive that was given (a file, or its directory), or one in `data_dir`.

    Raises:
        DataError: if `given` is not there.
    """
    if given is not None:
        path = given / archive.file if given.is_dir() else given
        if not path.is_file():
            raise DataError(
                f"imagenette: there is no archive {path}. Give the path of {archive.file}, "
                f"downloaded from {archive.url}."
            )
        return path
    # `downloads/manual` is where TensorFlow Datasets expects files fetched by hand.
    places = (data_dir, data_dir / "downloads", data_dir / "downloads" / "manual")
    return next((d / archive.file for d in places if (d / archive.file).is_file()), None)


def check_archive(path: Path, archive: Archive) -> None:
    """Raise an error unless the file's size and sha256 are those on record."""
    size = path.stat().st_size
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if (size, got) != (archive.size, archive.sha256):
        raise DataError(
            f"imagenette: {path} is damaged, incomplete or another archive "
            f"({readable(size)}, sha256 {got[:8]}...; expected {readable(archive.size)}, "
            f"{archive.sha256[:8]}...). Remove it and download {archive.url} again."
        )


def readable(size: int) -> str:
    """A number of bytes as text: exact, and rounded where that helps.

    >>> readable(12), readable(99003388)
    ('12 bytes', '94.4 MiB (99003388 bytes)')
    """
    if size < 1024:
        return f"{size} bytes"
    unit, name = (2**10, "KiB") if size < 2**20 else (2**20, "MiB")
    return f"{size / unit:.1f} {name} ({size} bytes)"


def download(archive: Archive, *, data_dir: Path, timeout: float) -> Path:
    """Download the archive into `data_dir`, check it, and return its path.

    The file gets its name only when it is whole and checked.

    Raises:
        DataError: if the server does not answer within `timeout` seconds, the connection breaks,
            or what came is not the archive.
    """
    part = data_dir / f".{archive.file}.part"
    try:
        with connect(archive.url, timeout=timeout) as response, part.open("wb") as out:
            shutil.copyfileobj(response, out)
        check_archive(part, archive)
        return part.rename(data_dir / archive.file)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"imagenette: {archive.url} cannot be downloaded ({error}), and {archive.file} is not "
            f"in {data_dir}. Download it elsewhere and give it with `--archive PATH`, or put it "
            "there."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def connect(url: str, *, timeout: float):
    """The open response of `url`; without an answer in `timeout` seconds OSError is raised.

    The limit covers the name look-up, which knows none of its own: hence a thread. Nothing is
    tried twice. Later reads may pause for up to 30 s.
    """
    answer = Future()

    def open_url():
        try:
            response = urllib.request.urlopen(url, timeout=30)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()
            answer.set_exception(error)
        else:
            answer.set_result(response)

    threading.Thread(target=open_url, daemon=True).start()
    try:
        return answer.result(timeout=timeout)
    except TimeoutError:
        answer.add_done_callback(close_response)
        raise TimeoutError(f"no answer within {timeout:g} s") from None


def close_response(answer: Future) -> None:
    """Close the response that came after it was given up."""
    if answer.exception() is None:
        answer.result().close()
