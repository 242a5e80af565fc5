"""Canvases of photos, against the rule."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradtx.data import DataError, load
from gradtx.data.canvas import canvas_shape, canvas_side, covered, draw_canvas


def photo(width, height):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def test_the_side_is_what_crops_need_and_photos_have():
    assert canvas_side(128, scale=0.35, largest=160) == 160
    assert canvas_side(128, scale=0.35, largest=500) == 217
    assert canvas_side(224, scale=0.08, largest=10_000) == 792
    assert [canvas_shape(c) for c in (160, 217, 1)] == [(160, 240), (217, 326), (1, 2)]


@pytest.mark.parametrize(
    ("size", "cut", "extent"),
    [
        ((24, 16), (16, 24), (16, 24)),  # width, height; height, width; rows, columns
        ((20, 16), (16, 20), (16, 20)),
        ((16, 24), (24, 16), (16, 24)),  # turned
        ((7, 5), (5, 7), (5, 7)),  # never enlarged
        ((30, 16), (16, 30), (16, 24)),  # one axis alone is reduced
        ((40, 16), (16, 32), (16, 24)),  # cut to the middle first
        ((16, 41), (32, 16), (16, 24)),
        ((90, 60), (60, 90), (16, 24)),
        ((17, 17), (17, 17), (16, 17)),
        ((1, 500), (2, 1), (1, 2)),
    ],
)
def test_a_photo_lies_on_its_canvas_by_the_rule(size, cut, extent):
    image = photo(*size)
    canvas, got = draw_canvas(image, 16)
    assert got == cut and canvas.shape == (16, 24, 3) and covered(got, 16) == extent
    height, width = cut
    top, left = (image.height - height) // 2, (image.width - width) // 2
    middle = image.crop((left, top, left + width, top + height))
    rows, columns = extent
    new = (rows, columns) if height > width else (columns, rows)
    want = np.asarray(middle.resize(new, Image.Resampling.BILINEAR))
    want = want.transpose(1, 0, 2) if height > width else want
    np.testing.assert_array_equal(canvas[:rows, :columns], want)
    assert not canvas[rows:].any() and not canvas[:, columns:].any()
    if max(size) <= 24 and min(size) <= 16:  # it fits: no pixel is changed
        pixels = np.asarray(image)
        want = pixels.transpose(1, 0, 2) if size[1] > size[0] else pixels
        np.testing.assert_array_equal(canvas[:rows, :columns], want)


def test_rows_of_photos_are_canvases_with_sizes(small_tree):
    bad = small_tree / "train" / "n03000684" / "n03000684_2.JPEG"
    bad.write_bytes(bad.read_bytes()[:-1000])
    dataset = load("folder", data_dir=small_tree)
    assert dataset.largest == 160
    with pytest.raises(DataError, match=r"folder: photos must lie on a canvas .*on_canvas"):
        dataset.train.rows(np.arange(2))
    photos: Any = dataset.train
    source = photos.on_canvas(160)
    assert source.labels.tolist() == [c for c in range(10) for _ in range(6)]
    indices = np.array([20, 1, 0, 20])
    arrays, unreadable = source.rows(indices)
    image, label, size = (arrays[name] for name in ("image", "label", "size"))
    assert image.shape == (4, 160, 240, 3) and image.dtype == np.uint8
    assert size.tolist() == [[1, 1], [160, 213], [240, 160], [1, 1]] and size.dtype == np.int32
    assert label[1:3].tolist() == [0, 0] and not image[0].any()
    assert unreadable.keys() == {0, 3} and f"folder: {bad} cannot be read" in unreadable[0]
    for row, index in ((1, 1), (2, 0)):
        with Image.open(dataset.train[index]["image"]) as file:
            np.testing.assert_array_equal(image[row], draw_canvas(file.convert("RGB"), 160)[0])


def test_arrays_are_their_own_canvas():
    source: Any = load("embedded").valid
    arrays, unreadable = source.rows(np.array([5, 3]))
    assert arrays.keys() == {"image", "label"} and not unreadable
    np.testing.assert_array_equal(arrays["image"], source.images[[5, 3]])
    np.testing.assert_array_equal(arrays["label"], source.labels[[5, 3]])
