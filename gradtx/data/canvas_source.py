"""Photos whose canvases lie in a file that is mapped into memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradtx.data.canvas_row import digest_of
from gradtx.data.dataset import Examples
from gradtx.data.photo_source import PhotoSource


@dataclass(frozen=True, eq=False)
class CanvasSource:
    """The canvases of one split, drawn before; what is not there, or damaged, is drawn anew.

    A canvas is compared with its digest when it is first read.

    Args:
        photos: the same photos on the same canvas, decoded when read.
        pixels: the canvases, uint8[n, c, W, 3].
        labels: int32[n].
        sizes: height and width of the photos, int32[n, 2].
        digests: of the canvases, uint32[n].
        sound: whether a canvas was found sound, bool[n]; it is written to.
        drawn: whether there is a canvas, bool[n].
        damaged: called when the first damaged canvas is found.
    """

    photos: PhotoSource
    pixels: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    digests: np.ndarray
    sound: np.ndarray
    drawn: np.ndarray
    damaged: Callable[[], Any]

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        """An example, as its photo has it."""
        return self.photos[index]

    def rows(self, indices: np.ndarray) -> Examples:
        """Canvases uint8[n, c, W, 3], labels and sizes int32[n, 2] of int[n] indices."""
        image, label, size = (a[indices] for a in (self.pixels, self.labels, self.sizes))
        for row in np.flatnonzero(self.drawn[indices] & ~self.sound[indices]):
            self.sound[indices[row]] = digest_of(image[row]) == self.digests[indices[row]]
        others = np.flatnonzero(~self.sound[indices])
        if not len(others):
            return Examples({"image": image, "label": label, "size": size}, {})
        if self.drawn[indices[others]].any():
            self.damaged()
        anew, unreadable = self.photos.rows(indices[others])
        image[others], label[others], size[others] = (
            anew[name] for name in ("image", "label", "size")
        )
        return Examples(
            {"image": image, "label": label, "size": size},
            {int(others[position]): why for position, why in unreadable.items()},
        )
