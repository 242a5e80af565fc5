"""What a data set is: two random-access sources and the constants that go with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gradtx.data.augment import Augmentation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Source(Protocol):
    """Random access to the examples of one split."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """An example: dict(image=uint8[h, w, c], JPEG bytes or a path, label=int)."""
        ...

    def read(
        self, indices: np.ndarray, *, size: int, draws: np.ndarray | None, augment: Augmentation
    ) -> tuple[np.ndarray, np.ndarray]:
        """The images [n, size, size, c], in 0..255, and labels int32[n] of int[n] indices.

        Args:
            indices: int[n], which examples.
            size: the side of the images, in pixels.
            draws: float64[n, DRAWS], a row per image (see `gradtx.data.augment`), or None for the
                plain image.
            augment: what the draws decide.
        """
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set split in two, ready for `gradtx.data.train_batches` and `valid_batches`.

    Args:
        name: of the data set, as `load` knows it.
        classes: the names of the classes, by label.
        train: the training examples.
        valid: the validation examples.
        channels: 1 for gray images, 3 for RGB.
        mean: of each channel, of images in [0, 1].
        std: the standard deviation of each channel, of images in [0, 1].
        fingerprint: names the content, not the place: equal fingerprints mean equal data, so it
            belongs in a checkpoint.
    """

    name: str
    classes: tuple[str, ...]
    train: Source
    valid: Source
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
