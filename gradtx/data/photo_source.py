"""Compressed images of any size, decoded when they are read."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradtx.data.canvas import canvas_shape, draw_canvas
from gradtx.data.dataset import Examples
from gradtx.data.errors import DataError
from gradtx.data.image_file import ImageError, open_image
from gradtx.files import printable


@dataclass(frozen=True, eq=False)
class PhotoSource:
    """Records dict(image=encoded bytes or a path, label=int) of color photos.

    `where` and `remedy` are for the message about a record that cannot be read; `side` is that of
    the canvas that the photos are drawn on, for `rows`.
    """

    records: Sequence
    where: str
    remedy: str
    side: int | None = None

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        """An example: dict(image=encoded bytes or a path, label=int)."""
        return self.records[index]

    @property
    def labels(self) -> np.ndarray:
        """The label of each example, int32[n]; read from the records once."""
        return self._labels

    @cached_property
    def _labels(self) -> np.ndarray:
        found = np.zeros(len(self), np.int32)  # also for records that cannot be read
        for i in range(len(self)):
            with suppress(DataError):
                found[i] = self.record(i)["label"]
        return found

    def on_canvas(self, side: int) -> "PhotoSource":
        """The same photos, drawn on canvases of that side."""
        return replace(self, side=side)

    def rows(self, indices: np.ndarray) -> Examples:
        """Canvases uint8[n, c, W, 3], labels and sizes int32[n, 2] of int[n] indices.

        Raises:
            DataError: if the photos have no canvas yet.
        """
        if self.side is None:
            raise DataError(
                f"{self.where}: photos must lie on a canvas to be read as rows; got none. Call"
                " `gradtx.data.on_canvas` on the data set."
            )
        count, unreadable = len(indices), {}
        image = np.zeros((count, *canvas_shape(self.side), 3), np.uint8)
        label, size = np.zeros(count, np.int32), np.ones((count, 2), np.int32)
        for row, index in enumerate(map(int, indices)):
            try:
                record = self.record(index)
                label[row] = record["label"]
                image[row], size[row] = draw_canvas(self.photo(index, record), self.side)
            except DataError as error:
                unreadable[row] = str(error)
        return Examples({"image": image, "label": label, "size": size}, unreadable)

    def decode(self, index: int) -> tuple[Image.Image, int]:
        """The upright RGB photo and the label of one record.

        Raises:
            DataError: if it cannot be read.
        """
        record = self.record(index)
        return self.photo(index, record), int(record["label"])

    def photo(self, index: int, record: Mapping[str, Any]) -> Image.Image:
        """The upright RGB photo of a record.

        Raises:
            DataError: if it cannot be read.
        """
        try:
            return open_image(record["image"]).decode()
        except ImageError as error:
            raise self.unreadable(index, record["image"], str(error)) from error

    def record(self, index: int) -> dict:
        """The record of that index.

        Raises:
            DataError: if it cannot be read.
        """
        # Record readers raise errors of many kinds on damaged files.
        try:
            return self.records[index]
        except Exception as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise self.unreadable(index, b"", why) from error

    def unreadable(self, index: int, image: Path | bytes, why: str) -> DataError:
        """The error that says that a record cannot be read."""
        what = f"image {index}" if isinstance(image, bytes) else printable(image)
        return DataError(f"{self.where}: {what} cannot be read ({why}). {self.remedy}")
