"""Images that are all of one size and in memory."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gradtx.data.augment import Augmentation, shift
from gradtx.data.dataset import Examples


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images uint8[n, h, w, c] and labels int32[n]; whole batches are read at once."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        """An example: dict(image=uint8[h, w, c], label=int)."""
        return {"image": self.images[index], "label": int(self.labels[index])}

    def rows(self, indices: np.ndarray) -> Examples:
        """The examples of int[n] indices: dict(image=uint8[n, h, w, c], label=int32[n])."""
        return Examples({"image": self.images[indices], "label": self.labels[indices]}, {})

    def read(
        self, indices: np.ndarray, *, size: int, draws: np.ndarray | None, augment: Augmentation
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images [n, size, size, c] and labels: shift and mirror, then resize."""
        images = self.images[indices].transpose(0, 3, 1, 2)
        if draws is not None:
            images = shift(images, draws=draws, augment=augment)
        return resize(images, size).transpose(0, 2, 3, 1), self.labels[indices]


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize images [..., h, w] to [..., size, size], linearly and antialiased.

        out = R(h) image R(w)^T      R as in `resize_matrix`

    Images of that size already are returned as they are, any others as float32.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    images = images.astype(np.float32)
    return resize_matrix(height, size) @ images @ resize_matrix(width, size).T


@lru_cache(maxsize=16)
def resize_matrix(old: int, new: int) -> np.ndarray:
    """The matrix float32[new, old] whose rows average `old` pixels into each of `new`.

        R[i, j] ~ max(0, 1 - |j - c_i| / s)
        c_i = (i + 1/2) old / new - 1/2        s = max(1, old / new)

    with rows scaled to sum to one.
    """
    center = (np.arange(new) + 0.5) * old / new - 0.5
    weight = np.maximum(0, 1 - np.abs(np.arange(old) - center[:, None]) / max(1, old / new))
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)
