"""What a data set is: two random-access sources and the constants that go with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Examples(NamedTuple):
    """Some examples of a split, as they lie in memory; see `Source.rows`.

    Args:
        arrays: `image` uint8[n, h, w, c] and `label` int32[n]. Photos lie on a canvas (see
            `gradtx.data.canvas`) and have `size` int32[n, 2] too, the photo's height and width;
            an image without a size is all of its array.
        unreadable: the positions, of 0..n-1, of those that cannot be read, and why. They are black.
    """

    arrays: dict[str, np.ndarray]
    unreadable: dict[int, str]


class Source(Protocol):
    """Random access to the examples of one split."""

    @property
    def labels(self) -> np.ndarray:
        """The label of each example, int32[n]."""
        ...

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """An example: dict(image=uint8[h, w, c], JPEG bytes or a path, label=int)."""
        ...

    def rows(self, indices: np.ndarray) -> Examples:
        """The examples of int[n] indices, in that order; several threads may ask at once."""
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set split in two, ready for `gradtx.data.train_batches` and `valid_batches`.

    Args:
        name: of the data set, as `load` knows it.
        classes: the names of the classes, by label.
        train: the training examples.
        valid: the validation examples.
        channels: 1 for gray images, 3 for RGB, of arrays any number.
        mean: of each channel, of images in [0, 1].
        std: the standard deviation of each channel, of images in [0, 1].
        fingerprint: names the content, not the place: equal fingerprints mean equal data, so it
            belongs in a checkpoint.
        largest: of photos, the largest short side of a training image, in pixels; else None.
        place: of photos, a name for where they are, for a cache of them.
        canvas: of photos that lie on a canvas, its side (see `gradtx.data.canvas`); else None.
    """

    name: str
    classes: tuple[str, ...]
    train: Source
    valid: Source
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    largest: int | None = None
    place: str = ""
    canvas: int | None = None

    @property
    def photos(self) -> bool:
        """Whether the images are photos, of many sizes, not arrays of one."""
        return self.largest is not None
