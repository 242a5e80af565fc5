"""Opening an image file: the one way by which a training, a validation and a prediction do it.

| The file has | Its pixels are |
|---|---|
| 8 bits a channel, gray or RGB | as they are; gray ones repeated where RGB is asked for |
| 1 bit | 0 and 255 |
| a palette | its colors |
| CMYK, YCbCr or LAB | as Pillow makes RGB of them, without the file's color profile |
| alpha, or one transparent color | laid on white |
| 16 bits, or integers of 32 | v >> 8; refused if one is outside 0..65535 |
| floating-point numbers | round(255 v); refused if one is outside [0, 1] |
| anything else | refused |

The orientation of the EXIF data is applied, and of an animation the first picture is taken. Only
JPEG, PNG, WebP, GIF, BMP, TIFF and PPM files are opened, whatever their names say, and only regular
files: a named pipe would never end. What a file unpacks to is limited by its header, before any
pixel is decoded.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = frozenset(
    ".jpg .jpeg .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm".split()  # in lower case
)
MOST_PIXELS = 2**26  # 8192 x 8192; decoding takes up to 13 bytes a pixel
MOST_BYTES = 2**29  # of a file
LEVELS = {"L;2": 85, "L;4": 17}  # from one level of gray to the next, of 255
WHITE = (255, 255, 255)
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A file that is not an image to be read: why, in a few words."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image file, read and within the limits, but not decoded; see `open_image`."""

    data: bytes
    opened: Image.Image

    @property
    def short_side(self) -> int:
        """The smaller of height and width, in pixels."""
        return min(self.opened.size)

    @property
    def digest(self) -> str:
        """The sha256 of the file, in hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    def decode(self, mode: str = "RGB") -> Image.Image:
        """The upright picture, as the module says.

        Args:
            mode: "RGB", or "L" for gray.

        Raises:
            ImageError: if that is not possible.
        """
        with decoding():
            tiles = getattr(self.opened, "tile", None)  # gone once it is decoded
            kind = tiles[0][3] if tiles else None
            self.opened.load()
            mend_transparency(self.opened, kind)
            return as_8_bits(upright(self.opened), mode)

    def verify(self) -> None:
        """Check what can be checked without decoding; nothing else can be done afterwards.

        Raises:
            ImageError: if the file is damaged.
        """
        with decoding():
            self.opened.verify()


def open_image(source: Path | bytes) -> ImageFile:
    """Read an image file and its header.

    Args:
        source: the path of the file, or what is in it.

    Raises:
        ImageError: if it is not a regular file that can be read, of a known format and within the
            limits.
    """
    data = source if isinstance(source, bytes) else read_regular(source)
    with decoding():
        opened = Image.open(BytesIO(data), formats=FORMATS)
    width, height = opened.size
    if width * height > MOST_PIXELS:
        raise ImageError(f"{width} x {height} pixels, above the limit of {MOST_PIXELS:,}")
    return ImageFile(data, opened)


def read_regular(path: Path) -> bytes:
    """What is in a regular file; anything else is not even opened."""
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise ImageError("a directory")
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("not a regular file")
        if found.st_size > MOST_BYTES:
            raise ImageError(f"{found.st_size:,} bytes, above the limit of {MOST_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(error.strerror or type(error).__name__) from error


@contextmanager
def decoding() -> Iterator[None]:
    """Make one `ImageError` of the many kinds of errors that decoders raise on damaged files."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(reason(error)) from error


def reason(error: Exception) -> str:
    """The first line of the error's message, or a better one."""
    if isinstance(error, UnidentifiedImageError):
        kinds = ", ".join(FORMATS)
        return f"not an image of the formats {kinds}, or of a kind in them that Pillow cannot read"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more pixels than the limit of {MOST_PIXELS:,}"
    return (str(error).splitlines() or [type(error).__name__])[0]


def mend_transparency(image: Image.Image, kind: Any) -> None:
    """Make the one transparent color of a PNG one of 8 bits, as Pillow has made the pixels.

    `kind` is how the file has them, by Pillow's name, such as "L;2" for gray of 2 bits.
    """
    color = image.info.get("transparency")
    if isinstance(kind, str) and kind in LEVELS and isinstance(color, int):
        image.info["transparency"] = color * LEVELS[kind]
    if kind == "RGB;16B" and color is not None:
        raise ImageError("one transparent color of 3 x 16 bits, which Pillow cannot tell")


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data says; damaged data say nothing."""
    try:
        method = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return image
    return image if method is None else image.transpose(method)


def as_8_bits(image: Image.Image, mode: str) -> Image.Image:
    """The picture as RGB or gray, 8 bits a channel, on white."""
    if image.mode.startswith("I") or image.mode == "F":
        transparent = image.info.get("transparency")  # one value of the image
        values = np.asarray(image)
        levels = from_floats(values) if image.mode == "F" else from_integers(values)
        if transparent is not None:
            levels[values == transparent] = 255
        image = Image.fromarray(levels)
    elif image.has_transparency_data:
        # Of the modes with alpha, La alone is not made RGBA at once.
        picture = image.convert("LA") if image.mode == "La" else image
        picture = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        image = Image.new("RGB", picture.size, WHITE)
        image.paste(picture, mask=picture)
    if image.mode == "LAB":
        image = image.convert("RGB")  # Pillow makes nothing else of it
    return image if image.mode == mode else image.convert(mode)


def from_integers(values: np.ndarray) -> np.ndarray:
    """The upper eight of 16 bits, uint8."""
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise ImageError(f"integers must be in 0..65535; got {low} to {high}")
    return (values >> 8).astype(np.uint8)


def from_floats(values: np.ndarray) -> np.ndarray:
    """255 times the values, rounded, uint8."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # also for NaN
        raise ImageError(f"floating-point numbers must be in [0, 1]; got {low:g} to {high:g}")
    levels = np.empty(values.shape, np.uint8)
    for row, line in zip(levels, values, strict=True):  # no copy of the whole
        row[:] = np.rint(255 * line)
    return levels
