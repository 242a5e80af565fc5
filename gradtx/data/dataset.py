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
        """Return the number of examples."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Return dict(image=uint8[h, w, c], JPEG bytes or a path, label=int)."""
        ...

    def read(
        self, indices: np.ndarray, *, size: int, draws: np.ndarray | None, augment: Augmentation
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the images [n, size, size, c], in 0..255, and labels int32[n] of int[n] indices.

        `draws` has a row per image, or is None for the plain image (see `gradtx.data.augment`).
        """
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set split in two, ready for `gradtx.data.train_batches` and `valid_batches`.

    `mean` and `std` are per channel, of images in [0, 1]. `fingerprint` names the content, not the
    place: equal fingerprints mean equal data, so it belongs in a checkpoint.
    """

    name: str
    classes: tuple[str, ...]
    train: Source
    valid: Source
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
