"""Compressed images of any size, decoded when they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from gradtx.data.augment import Augmentation, center_box, flips, random_box
from gradtx.data.errors import DataError


@dataclass(frozen=True, eq=False)
class PhotoSource:
    """Records dict(image=encoded bytes or a path, label=int) of color photos.

    `where` and `remedy` are for the message about a record that cannot be read.
    """

    records: Sequence
    where: str
    remedy: str

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        """An example: dict(image=encoded bytes or a path, label=int)."""
        return self.records[index]

    def read(
        self, indices: np.ndarray, *, size: int, draws: np.ndarray | None, augment: Augmentation
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8[n, size, size, 3] and labels: a box of each photo, resized.

        Random boxes and mirrored if there are `draws`, else the largest square in the center.
        """
        images = np.empty((len(indices), size, size, 3), np.uint8)
        labels = np.empty(len(indices), np.int32)
        for row, index in enumerate(map(int, indices)):
            photo, labels[row] = self.decode(index)
            if draws is None:
                box = center_box(*photo.size)
            else:
                box = random_box(*photo.size, draws=draws[row], augment=augment)
            image: Any = photo.resize((size, size), Image.Resampling.BILINEAR, box=box)
            images[row] = image
        if draws is not None:
            mirrored = flips(draws, augment)
            images[mirrored] = images[mirrored, :, ::-1]
        return images, labels

    def decode(self, index: int) -> tuple[Image.Image, int]:
        """The RGB photo and the label of one record."""
        what = f"image {index}"
        # Decoders and record readers raise errors of many kinds on damaged data.
        try:
            record = self.records[index]
            image = record["image"]
            if isinstance(image, Path):
                what = str(image)
            with Image.open(BytesIO(image) if isinstance(image, bytes) else image) as file:
                return file.convert("RGB"), int(record["label"])
        except Exception as error:
            raise DataError(
                f"{self.where}: {what} cannot be read ({reason(error)}). {self.remedy}"
            ) from error


def check_header(file: Path | BinaryIO) -> str | None:
    """Why `file` is no image, or None if its header is sound."""
    # PIL's formats raise errors of many kinds on damaged files.
    try:
        with Image.open(file) as image:
            image.verify()
    except Exception as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """The first line of the error's message, or a better one."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return (str(error).splitlines() or [type(error).__name__])[0]
