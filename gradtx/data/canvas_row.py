"""One canvas in the file of all canvases of a data set."""

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.data.canvas import draw_canvas
from gradtx.data.image_file import ImageError, open_image


def digest_of(canvas: np.ndarray) -> int:
    """The CRC-32 of a canvas: fast enough for every canvas to be checked when it is read."""
    return zlib.crc32(np.ascontiguousarray(canvas).data)


def draw_row(photo: Path | bytes, row: int, *, side: int, pixels: int) -> dict[str, Any]:
    """Draw one canvas into an open file; returns the answer."""
    try:
        canvas, size = draw_canvas(open_image(photo).decode(), side)
    except ImageError as error:
        return {"unreadable": str(error)}
    try:
        if os.pwrite(pixels, canvas.data, row * canvas.nbytes) != canvas.nbytes:
            return {"failed": "the disk is full"}
    except OSError as error:
        return {"failed": error.strerror}
    return {"size": size, "digest": digest_of(canvas)}
