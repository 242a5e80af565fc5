"""One batch of images: read, normalized, and with weight 0 for what cannot be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradtx.data.augment import Augmentation
from gradtx.data.dataset import Dataset, Source
from gradtx.data.errors import DataError
from gradtx.data.skipped import SkippedImages

Batch = Mapping[str, np.ndarray]
"""dict(image=float32[b, size, size, c], label=int32[b], weight=float32[b])."""

PLAIN = Augmentation()


def normalize(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Images in 0..255 as float32 of about zero mean and unit variance, in C order.

    out = images / (255 std) - mean / std
    """
    scale, shift = np.asarray(std, np.float32), np.asarray(mean, np.float32)
    out = np.multiply(images, 1 / (255 * scale), order="C")
    out -= shift / scale
    return out


@dataclass(frozen=True, eq=False)
class BatchReader:
    """Makes batches of one split, "train" or "valid", at `size` pixels."""

    dataset: Dataset
    split: str
    size: int
    augment: Augmentation = PLAIN
    skipped: SkippedImages | None = None

    @property
    def source(self) -> Source:
        """The images of the split."""
        return self.dataset.train if self.split == "train" else self.dataset.valid

    def batch(
        self, indices: np.ndarray, weight: np.ndarray, draws: np.ndarray | None = None
    ) -> Batch:
        """The images at `indices`, augmented by `draws`; `weight` is 0 for unreadable ones."""
        try:
            images, labels = self.read(indices, draws)
        except DataError:
            if self.skipped is None:
                raise
            images, labels, readable = self.read_one_by_one(indices, draws, self.skipped)
            weight = weight * readable
        image = normalize(images, self.dataset.mean, self.dataset.std)
        return {"image": image, "label": labels, "weight": weight}

    def read(self, indices: np.ndarray, draws: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels; one that cannot be read is an error."""
        return self.source.read(indices, size=self.size, draws=draws, augment=self.augment)

    def read_one_by_one(
        self, indices: np.ndarray, draws: np.ndarray | None, skipped: SkippedImages
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images and labels, and 1 for each that is readable, else 0 and another in its place."""
        rows, why = {}, ""
        for i in range(len(indices)):
            part = slice(i, i + 1)
            try:
                rows[i] = self.read(indices[part], None if draws is None else draws[part])
            except DataError as error:
                why = str(error)
                skipped.add(self.split, int(indices[i]), why)
        if not rows and self.split == "train":
            skipped.stop()
            raise DataError(f"pipeline: no image of a batch could be read. {why}")
        spare = next(iter(rows.values())) if rows else self.black()
        images, labels = zip(*(rows.get(i, spare) for i in range(len(indices))), strict=True)
        readable = np.array([i in rows for i in range(len(indices))], np.float32)
        return np.concatenate(images), np.concatenate(labels), readable

    def black(self) -> tuple[np.ndarray, np.ndarray]:
        """An image of zeros, and a label for it."""
        shape = (1, self.size, self.size, self.dataset.channels)
        return np.zeros(shape, np.uint8), np.zeros(1, np.int32)
