"""Images that are all of one size and in memory."""

from dataclasses import dataclass

import numpy as np

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
