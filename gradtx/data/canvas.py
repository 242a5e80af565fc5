"""The canvas that a photo lies on: a uint8 array of one shape for all photos of a data set.

    c x W,    W = ceil(3 c / 2)        c = min(ceil(size / sqrt(s)), the largest short side)

where `size` is what the model gets and `s` the smallest share of a photo's area that a crop takes:
a crop is then hardly ever enlarged more than from the photo itself.

A photo of height h and width w, upright,

1. longer than 2:1 is cut to its middle 2:1, which gives (h, w) anew;
2. keeps a side that fits, and a longer one is reduced, each axis by itself;
3. if it is a portrait, h > w, lies turned: row r, column q of the canvas are column r, row q of it;
4. lies in the canvas's upper left corner; the rest is 0, and belongs to no image.

So a pixel of the canvas has a place in the photo by (h, w) and c alone.
"""

import math
from typing import Any

import numpy as np
from PIL import Image

RULE = 1  # changes when any canvas does
LONGEST = 2  # the longest photo that is not cut: so many times as long as it is short


def canvas_side(size: int, *, scale: float, largest: int) -> int:
    """The side c of the canvas, as the module says.

    >>> canvas_side(128, scale=0.35, largest=160), canvas_side(128, scale=0.35, largest=4000)
    (160, 217)

    Args:
        size: the side of the images that the model gets, in pixels.
        scale: the smallest share of a photo's area that a crop takes.
        largest: the largest short side of the training photos, in pixels.
    """
    return min(math.ceil(size / math.sqrt(scale)), largest)


def canvas_shape(side: int) -> tuple[int, int]:
    """The rows and columns of a canvas, (c, ceil(3 c / 2)).

    Args:
        side: c, in pixels.
    """
    return side, (3 * side + 1) // 2


def photo_size(height: int, width: int) -> tuple[int, int]:
    """The height and width of a photo after it is cut to the middle 2:1.

    >>> photo_size(100, 150), photo_size(100, 250), photo_size(301, 100)
    ((100, 150), (100, 200), (200, 100))

    Args:
        height: of the upright photo, in pixels.
        width: of it.
    """
    return min(height, LONGEST * width), min(width, LONGEST * height)


def covered(size: tuple[int, int], side: int) -> tuple[int, int]:
    """How many rows and columns of the canvas a photo covers, from the upper left corner on.

    Args:
        size: the photo's (height, width), as `photo_size` gives it.
        side: c, in pixels.
    """
    rows, columns = canvas_shape(side)
    return min(min(size), rows), min(max(size), columns)


def draw_canvas(photo: Image.Image, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The canvas of a photo, uint8[c, W, 3], and its (height, width) after the cut.

    Args:
        photo: upright, of mode RGB.
        side: c, in pixels.
    """
    height, width = size = photo_size(photo.height, photo.width)
    if size != (photo.height, photo.width):
        left, top = (photo.width - width) // 2, (photo.height - height) // 2
        photo = photo.crop((left, top, left + width, top + height))
    rows, columns = covered(size, side)
    turned = height > width
    reduced = (rows, columns) if turned else (columns, rows)  # width, height
    if reduced != photo.size:
        photo = photo.resize(reduced, Image.Resampling.BILINEAR)
    pixels: Any = photo.transpose(Image.Transpose.TRANSPOSE) if turned else photo
    canvas = np.zeros((*canvas_shape(side), 3), np.uint8)
    canvas[:rows, :columns] = pixels
    return canvas, size
