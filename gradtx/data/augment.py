"""Random augmentation as a pure function of an image and a row of uniform numbers."""

import math
from dataclasses import dataclass

import numpy as np

from gradtx.data.errors import DataError

ATTEMPTS = 10  # at a random box that fits into the image

# What the columns of a row of draws decide.
AREA = slice(0, ATTEMPTS)
RATIO = slice(ATTEMPTS, 2 * ATTEMPTS)
X, Y, FLIP = range(2 * ATTEMPTS, 2 * ATTEMPTS + 3)
DRAWS = 2 * ATTEMPTS + 3


@dataclass(frozen=True)
class Augmentation:
    """What training images may undergo.

    Of a photo a random box is resized to the training size. Array images, which are small, are
    shifted by whole pixels, with black moving in.

        area of the box  ~ U(scale) width height         log(its width / height) ~ U(log(ratio))
        shift            ~ U(-p, p) along each side      p = round(pad side)

    Args:
        scale: (low, high) of the share of a photo's area that the box has, in (0, 1].
        ratio: (low, high) of the box's width over its height, above 0.
        pad: the largest shift of an array image, as a fraction of the side, in [0, 1].
        flip: whether half of the images, of both kinds, are mirrored.

    Raises:
        DataError: if a range is empty or outside its bounds.
    Source: the random resized crop is that of Szegedy et al. (2015), section 6.
    """

    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: float = 1 / 8
    flip: bool = True

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise DataError(
                f"Augmentation: `scale` must satisfy 0 < low <= high <= 1; got {self.scale}."
            )
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise DataError(
                f"Augmentation: `ratio` must satisfy 0 < low <= high; got {self.ratio}."
            )
        if not 0 <= self.pad <= 1:
            raise DataError(
                f"Augmentation: `pad` is a fraction of the side, 0 to 1; got {self.pad}."
            )


def draw(*, count: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform numbers float64[count, DRAWS] in [0, 1): row i decides what happens to image i."""
    return rng.random((count, DRAWS))


def flips(draws: np.ndarray, augment: Augmentation) -> np.ndarray:
    """Which images are mirrored: bool[...]."""
    return augment.flip & (draws[..., FLIP] < 0.5)


def random_box(
    width: int, height: int, *, draws: np.ndarray, augment: Augmentation
) -> tuple[float, float, float, float]:
    """The (left, top, right, bottom) of a random box in a `width` x `height` image.

        w = sqrt(a r)    h = sqrt(a / r)    a ~ U(scale) width height    log r ~ U(log ratio)

    The first of ten draws of (a, r) that fits is placed uniformly. If none fits, the box is the
    largest one of a permitted ratio, in the center.
    """
    (a0, a1), (r0, r1) = augment.scale, augment.ratio
    area = width * height * (a0 + (a1 - a0) * draws[AREA])
    ratio = np.exp(math.log(r0) + math.log(r1 / r0) * draws[RATIO])
    w, h = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (w <= width) & (h <= height)
    if not fits.any():
        w, h = min(width, height * r1), min(height, width / r0)
        left, top = (width - w) / 2, (height - h) / 2
        return left, top, left + w, top + h
    i = fits.argmax()
    left, top = draws[X] * (width - w[i]), draws[Y] * (height - h[i])
    # Rounding must not push the far corner out of the image.
    return float(left), float(top), min(float(left + w[i]), width), min(float(top + h[i]), height)


def center_box(width: int, height: int) -> tuple[float, float, float, float]:
    """The (left, top, right, bottom) of the largest square in the center of an image."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def shift(images: np.ndarray, *, draws: np.ndarray, augment: Augmentation) -> np.ndarray:
    """Shift and mirror each of `images` [n, c, h, w] by its own row of `draws`.

    Shifts are whole pixels, uniform from -p to p where p = round(pad * side).
    """
    n, _, height, width = images.shape
    py, px = round(augment.pad * height), round(augment.pad * width)
    padded = np.pad(images, ((0, 0), (0, 0), (py, py), (px, px)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    top = (draws[:, Y] * (2 * py + 1)).astype(int)
    left = (draws[:, X] * (2 * px + 1)).astype(int)
    out = windows[np.arange(n), :, top, left]
    mirrored = flips(draws, augment)
    out[mirrored] = out[mirrored, ..., ::-1]
    return out
