"""Images that turn out to be unreadable while a run goes on: named, counted, and left out."""

import sys
import threading
from pathlib import Path
from typing import Any

from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.files import as_path
from gradtx.sealed import Damaged, read_records, write_records

SHARE, MOST = 0.01, 100


def read_skipped(path: Path) -> tuple[dict[str, Any], ...]:
    """The split, index and why of each image that `SkippedImages` has written to `path`.

    Raises:
        DataError: if the file is damaged.
    """
    try:
        found = read_records(path)
        if not all(map(_is_image, found)):
            raise Damaged("a line that is none")
    except Damaged as error:
        raise DataError(
            f"skipped: {path} must have the lines that a run wrote; got {error}. Put it back as it"
            " was, or remove it: the images will be found again."
        ) from error
    return tuple(found)


def _is_image(record: dict[str, Any]) -> bool:
    """Whether a line names an image, as `SkippedImages` does."""
    index = record.get("index")
    named = record.keys() == {"split", "index", "why"} and record["split"] in ("train", "valid")
    return named and type(index) is int and index >= 0 and isinstance(record["why"], str)


class SkippedImages:
    """What could not be read so far, by split and index.

        allowed = max(1, min(100, 1 % of the images of both splits))

    Given to `train_batches` and `valid_batches`, it makes an image that cannot be read count
    nothing: its row has weight 0, in every epoch and after every resume alike, since it depends on
    the image alone. Each such image is named on the standard error once; with one more than
    `allowed` the run ends with an error, which names that one and after which no other is named.
    Without it the first is an error at once.

    `save_to(path)` writes them to a file too, a JSON object a line.

    Args:
        dataset: what the images belong to.
    """

    def __init__(self, dataset: Dataset) -> None:  # noqa: D107
        self.images = len(dataset.train) + len(dataset.valid)
        self.allowed = max(1, min(MOST, int(SHARE * self.images)))
        self.found: dict[tuple[str, int], str] = {}  # (split, index): why
        self.path: Path | None = None
        # An error ends the run: no more warnings, since that is its last line.
        self.stopped = False
        self.lock = threading.Lock()  # images are read by several threads

    def __len__(self) -> int:
        """The number of images."""
        return len(self.found)

    def save_to(self, path: str | Path, *, resuming: bool = True) -> None:
        """Write the images to a file, now and whenever another is found.

        Args:
            path: the file, a JSON object {"split", "index", "why"} a line; there is none without
                an image.
            resuming: take over the images that the file names already; else it is removed first.

        Raises:
            DataError: if the file is damaged.
        """
        self.path = as_path(path)
        with self.lock:
            if not resuming:
                self.path.unlink(missing_ok=True)
            if self.path.exists():
                known = {(r["split"], r["index"]): r["why"] for r in read_skipped(self.path)}
                self.found = known | self.found
            self.write()

    def write(self) -> None:
        """Write the file of `save_to`, whole or not at all; there is none without an image."""
        if self.path is not None and self.found:
            record = lambda key, why: {"split": key[0], "index": key[1], "why": why}
            write_records(self.path, [record(*item) for item in sorted(self.found.items())])

    def add(self, split: str, index: int, why: str) -> None:
        """Note an image, and name it if it is new.

        Args:
            split: "train" or "valid".
            index: of the image in its split.
            why: the message of the error, which names the file.

        Raises:
            DataError: if there are `allowed` already. This one is not noted: a run that goes on
                meets it again.
        """
        with self.lock:
            if (split, index) in self.found:
                return
            if len(self.found) >= self.allowed:
                self.stopped = True
                raise DataError(
                    f"pipeline: at most {self.allowed} of {self.images} images may be unreadable;"
                    f" got one more. {why}"
                )
            if self.stopped:
                return
            self.found[split, index] = why
            self.write()
            # Within the lock, so that it is said before another thread's error.
            print(f"warning: {why} Until then it counts nothing.", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Note and name no image any more: an error ends the run."""
        with self.lock:
            self.stopped = True
