"""Image files of every mode, against the values that were written into them."""

import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gradtx.data.image_file import ImageError, open_image

SIXTEEN = np.array([[0, 255, 256, 65535]], np.uint16)


def encoded(image, form, **how):
    out = BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def png(width, height, bits, color, rows, transparent=b""):
    """A PNG written by hand: what Pillow does not write itself."""
    chunk = lambda name, data: (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    )
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    key = chunk(b"tRNS", transparent) if transparent else b""
    parts = chunk(b"IHDR", header), key, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def array(values, dtype):
    return Image.fromarray(np.asarray(values, dtype))


def palette():
    image = array([[0, 1, 2]], np.uint8).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


def gray(*levels):
    return [[level] * 3 for level in levels]


RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
HALF = [[[255, 0, 0, 255], [0, 255, 0, 128], [0, 0, 255, 0]]]  # the alpha of a row of pixels
ON_WHITE = [RED, (127, 255, 127), WHITE]
COLORS = array([[RED, LIME, BLUE]], np.uint8)
TRANSPARENT = array(HALF, np.uint8)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (encoded(array([[0, 7, 255]], np.uint8), "PNG"), gray(0, 7, 255)),
        (encoded(COLORS, "BMP"), [RED, LIME, BLUE]),
        (encoded(COLORS.convert("1"), "PNG"), gray(0, 255, 0)),
        (encoded(COLORS.convert("1"), "PPM"), gray(0, 255, 0)),
        (encoded(array(SIXTEEN, np.uint16), "PNG"), gray(0, 0, 1, 255)),
        (encoded(array(SIXTEEN, np.uint16), "TIFF"), gray(0, 0, 1, 255)),
        (encoded(array(SIXTEEN, np.uint16), "PNG", transparency=256), gray(0, 0, 255, 255)),
        (encoded(array(SIXTEEN, np.int32), "TIFF"), gray(0, 0, 1, 255)),
        (b"P5 4 1 65535\n" + SIXTEEN.byteswap().tobytes(), gray(0, 0, 1, 255)),
        (encoded(array([[0, 0.25, 0.5, 1]], np.float32), "TIFF"), gray(0, 64, 128, 255)),
        (png(2, 1, 16, 2, struct.pack(">x6H", 0, 256, 65535, 300, 20000, 255)),
         [(0, 1, 255), (1, 78, 0)]),
        (png(2, 1, 16, 4, struct.pack(">x4H", 256, 65535, 20000, 0)), [*gray(1), WHITE]),
        (png(4, 1, 2, 0, b"\0\x1b", b"\0\1"), gray(0, 255, 170, 255)),
        (png(2, 1, 4, 0, b"\0\x12", b"\0\1"), gray(255, 34)),
        (png(2, 1, 1, 0, b"\0\x40", b"\0\0"), gray(255, 255)),
        (encoded(TRANSPARENT, "PNG"), ON_WHITE),
        (encoded(TRANSPARENT, "TIFF"), ON_WHITE),
        (encoded(TRANSPARENT, "WEBP", lossless=True, exact=True), ON_WHITE),
        (encoded(array([[[76, 255], [150, 128], [9, 0]]], np.uint8), "PNG"), gray(76, 202, 255)),
        (encoded(TRANSPARENT.convert("PA"), "TIFF"), ON_WHITE),
        (encoded(palette(), "PNG"), [RED, LIME, BLUE]),
        (encoded(palette(), "PNG", transparency=1), [RED, WHITE, BLUE]),
        (encoded(palette(), "PNG", transparency=b"\xff\x80\x00"), ON_WHITE),
        (encoded(palette(), "GIF", transparency=2), [RED, LIME, WHITE]),
        (encoded(COLORS, "PNG", transparency=BLUE), [RED, LIME, WHITE]),
        (encoded(COLORS.convert("CMYK"), "TIFF"), [RED, LIME, BLUE]),
        (encoded(COLORS.convert("YCbCr"), "TIFF"), [(254, 0, 0), (0, 254, 0), (0, 0, 254)]),
    ],
)  # fmt: skip
def test_each_mode_has_the_pixels_of_the_table(data, pixels):
    got = open_image(data).decode()
    assert got.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(got)[0], pixels)
    one = np.asarray(open_image(data).decode("L"))[0]
    np.testing.assert_allclose(one, np.dot(pixels, [0.299, 0.587, 0.114]), atol=1)


def test_lab_is_right_to_a_few_levels():
    photo = array([[[255, 0, 0], [128, 128, 128], [9, 9, 9]]], np.uint8)
    got = open_image(encoded(photo.convert("LAB"), "TIFF")).decode()
    np.testing.assert_allclose(np.asarray(got, int), np.asarray(photo, int), atol=6)
    one = open_image(encoded(photo.convert("LAB"), "TIFF")).decode("L")
    np.testing.assert_allclose(np.asarray(one, int), [[76, 128, 9]], atol=6)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([[0, 65536]], np.int32, r"integers must be in 0\.\.65535; got 0 to 65536"),
        ([[-1, 5]], np.int32, r"integers must be in 0\.\.65535; got -1 to 5"),
        ([[0, 1.5]], np.float32, r"floating-point numbers must be in \[0, 1\]; got 0 to 1\.5"),
        ([[-0.1, 0]], np.float32, r"must be in \[0, 1\]; got -0\.1 to 0"),
        ([[0, np.nan]], np.float32, r"must be in \[0, 1\]; got nan to nan"),
    ],
)
def test_values_outside_their_range_are_refused(values, dtype, message):
    image = open_image(encoded(array(values, dtype), "TIFF"))
    with pytest.raises(ImageError, match=message):
        image.decode()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_the_orientation_of_the_exif_data_is_applied(form):
    """Against the definition: where row 0 and column 0 of the file are in the picture."""
    stored = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((8, 8), np.uint8))
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
        6: stored[::-1].T, 7: stored[::-1, ::-1].T, 8: stored[:, ::-1].T,
    }  # fmt: skip
    exif = Image.Exif()
    for orientation, want in upright.items():
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(stored).convert("RGB"), form, exif=exif, quality=95)
        image = open_image(data)
        assert image.short_side == 16
        np.testing.assert_allclose(np.asarray(image.decode("L"), int), want, atol=8)


def test_a_transparent_color_that_pillow_loses_is_refused():
    data = png(
        2, 1, 16, 2, struct.pack(">x6H", *[300] * 3, 4, 5, 6), struct.pack(">3H", *[300] * 3)
    )
    with pytest.raises(ImageError, match="one transparent color of 3 x 16 bits"):
        open_image(data).decode()


def test_damaged_exif_data_turn_nothing():
    data = encoded(COLORS, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(open_image(data).decode(), COLORS)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(form):
    first, second = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    data = encoded(first, form, save_all=True, append_images=[second])
    np.testing.assert_allclose(np.asarray(open_image(data).decode(), int)[0, 0], RED, atol=3)


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_other_formats_are_not_opened_whatever_the_name(tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n")
    with pytest.raises(ImageError, match="not an image of the formats JPEG, PNG"):
        open_image(tmp_path / name)
    for form in ("ICO", "JPEG2000", "TGA", "PCX"):
        Image.new("RGB", (16, 16)).save(tmp_path / name, form)
        with pytest.raises(ImageError, match="not an image of the formats"):
            open_image(tmp_path / name)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    (tmp_path / "dir.png").mkdir()
    for name, why in {
        "pipe.png": "not a regular file", "link.png": "not a regular file",
        "dir.png": "a directory", "none.png": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(ImageError, match=why):
            open_image(tmp_path / name)


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    for side in (8193, 20_000):  # ours, and so many that Pillow refuses them
        with pytest.raises(ImageError, match=r"above the limit|more pixels than the limit of 67,"):
            open_image(png(side, side, 1, 0, b""))
    with pytest.raises(ImageError, match="8193 x 8192 pixels, above the limit of 67,108,864"):
        open_image(png(8193, 8192, 1, 0, b""))
    with (tmp_path / "x.tif").open("wb") as file:
        file.truncate(2**29 + 1)
    with pytest.raises(ImageError, match=r"536,870,913 bytes, above the limit"):
        open_image(tmp_path / "x.tif")
