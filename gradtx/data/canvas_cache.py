"""The files in which the canvases of a data set are kept.

    PLACE/KEY/pixels        uint8, the canvases one after the other, of training and validation
    PLACE/KEY/rows.json     what they are of, and the label, size and digest of each, with a digest

KEY names the photos' content, the canvas, its rule and Pillow's version; PLACE is where the photos
are. A cache is made in a directory of another name, so that an interrupted one leaves nothing that
looks whole.
"""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from gradtx.data.canvas import RULE, canvas_shape
from gradtx.data.canvas_builder import build
from gradtx.data.canvas_source import CanvasSource
from gradtx.data.dataset import Dataset
from gradtx.data.exclusive import exclusive
from gradtx.files import printable
from gradtx.sealed import Damaged, read_json, write_json

FORMAT = 1  # of these files
UNFINISHED = ".unfinished"
CACHES = re.compile(r"[0-9a-f]{16}")  # the names of directories that we make and remove
DTYPES: dict[str, Any] = {
    "labels": np.int32,
    "sizes": np.int32,
    "digests": np.uint32,
    "drawn": bool,
}


class CanvasCache:
    """The cache of the photos of a data set that lie on canvases.

    Args:
        place: the directory of the caches of these photos.
        dataset: the data set, of `PhotoSource`s with a canvas.
        limit: the most bytes that it may take, with the others of these photos.
        say: called with each line about it.
    """

    def __init__(  # noqa: D107
        self, place: Path, dataset: Dataset, *, limit: float, say: Callable[[str], Any]
    ) -> None:
        self.dataset, self.place, self.limit, self.say = dataset, place, limit, say
        self.counts = len(dataset.train), len(dataset.valid)
        side = dataset.canvas or 1
        self.shape = (sum(self.counts), *canvas_shape(side), 3)
        self.bytes = int(np.prod(self.shape))
        self.facts = {
            "fingerprint": dataset.fingerprint,
            "pillow": PIL.__version__,
            "rule": [FORMAT, RULE],
            "counts": list(self.counts),
            "side": side,
        }
        key = sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:16]
        self.path = place / key

    def open(self, processes: int | None = None) -> Dataset:
        """The data set with its photos read from the cache, which is made if need be.

        Args:
            processes: as `build` takes it.

        Raises:
            OSError: if the cache cannot be written or read.
        """
        if (found := self.load()) is not None:
            return found
        self.place.mkdir(parents=True, exist_ok=True)
        with self.locked():
            if (found := self.load()) is not None:
                return found
            self.clear(self.limit - self.bytes, "made anew")
            self.make(processes)
            if (found := self.load()) is None:
                raise OSError("what was written cannot be read again")
            return found

    def tidy(self) -> None:
        """Remove what is of no use any more, where no cache is to be made.

        Raises:
            OSError: if it cannot be removed, or another process is at work there.
        """
        if self.place.is_dir():
            with exclusive(self.place / ".lock", _busy):
                self.clear(math.inf, "removed")

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out of the caches of these photos."""
        waiting = lambda: self.say("Another process is decoding the photos: waiting for it.")
        return exclusive(self.place / ".lock", waiting)

    def load(self) -> Dataset | None:
        """The data set with the sources of the cache; None if it is not there, or not whole."""
        stored, pixels = read_rows(self.path), self.path / "pixels"
        if stored.get("facts") != self.facts:
            return None
        if not pixels.is_file() or pixels.stat().st_size != self.bytes:
            return None
        rows = {name: np.array(stored[name], dtype) for name, dtype in DTYPES.items()}
        rows["pixels"] = np.asarray(np.memmap(pixels, np.uint8, "r", shape=self.shape))
        rows["sound"] = np.zeros(len(rows["drawn"]), bool)
        parts = slice(0, self.counts[0]), slice(self.counts[0], None)
        photos: Any = self.dataset.train, self.dataset.valid
        train, valid = (
            CanvasSource(source, **{k: x[part] for k, x in rows.items()}, damaged=self.damaged)
            for source, part in zip(photos, parts, strict=True)
        )
        return replace(self.dataset, train=train, valid=valid)

    def damaged(self) -> None:
        """Say so, once, and leave the cache to be made anew by the next run."""
        with suppress(FileNotFoundError):
            (self.path / "rows.json").unlink()
            self.say(
                f"warning: the cache of decoded photos in {printable(self.path)} is damaged. What"
                " is damaged is decoded anew; the next run makes the cache anew."
            )

    def clear(self, room: float, done: str) -> None:
        """Remove what is damaged, unfinished or superseded, and what `room` bytes do not hold.

        To be called under the lock; `done` is what a line says of a cache that is of no use.
        """
        for path in sorted(self.place.iterdir()):
            if path.name == UNFINISHED:
                shutil.rmtree(path)
            elif CACHES.fullmatch(path.name) and path.is_dir():
                why = self.superseded(read_rows(path).get("facts"))
                if why is not None:
                    self.say(f"The cache of decoded photos in {printable(path)} {why}: {done}.")
                size = sum(file.stat().st_size for file in path.iterdir())
                if why is not None or size > room:
                    shutil.rmtree(path)
                else:
                    room -= size

    def superseded(self, facts: dict[str, Any] | None) -> str | None:
        """Why a cache of these photos is of no use any more; None for one of another canvas."""
        if facts is None:
            return "is damaged"
        if facts["fingerprint"] != self.facts["fingerprint"]:
            return "is of other photos than are there now"
        if facts["pillow"] != self.facts["pillow"]:
            return f"is of Pillow {facts['pillow']}, not {self.facts['pillow']}"
        if facts["rule"] != self.facts["rule"]:
            return "is of another version of gradtx"
        return "is damaged" if facts == self.facts and self.load() is None else None

    def make(self, processes: int | None) -> None:
        """Draw all canvases, and give the directory its name when it is whole."""
        count, began = self.shape[0], time.monotonic()
        self.say(
            f"Decoding {count:,} photos, once, into {printable(self.path)} ({amount(self.bytes)})."
        )
        unfinished = self.place / UNFINISHED
        try:
            unfinished.mkdir()
            pixels = unfinished / "pixels"
            with pixels.open("wb") as file:
                if hasattr(os, "posix_fallocate"):  # a full disk shows at once
                    os.posix_fallocate(file.fileno(), 0, self.bytes)
                else:
                    file.truncate(self.bytes)
            sources: Any = self.dataset.train, self.dataset.valid
            side = self.facts["side"]
            rows = build(sources, pixels, side=side, say=self.say, processes=processes)
            with pixels.open("rb") as file:
                os.fsync(file.fileno())
            columns = {name: getattr(rows, name).tolist() for name in DTYPES}
            whole = {"facts": self.facts, **columns}
            write_json(unfinished / "rows.json", whole, indent=None)
            unfinished.rename(self.path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        self.say(f"Decoded in {time.monotonic() - began:.1f} s.")


def amount(size: float) -> str:
    """A number of bytes, rounded.

    >>> amount(1.54e9), amount(2e7), amount(999)
    ('1.54 GB', '20 MB', '0.000999 MB')
    """
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def read_rows(path: Path) -> dict[str, Any]:
    """What the cache in a directory says of its canvases; nothing if that is damaged."""
    try:
        return read_json(path / "rows.json")
    except Damaged:
        return {}


def _busy() -> None:
    raise BlockingIOError("another process is decoding the photos")
