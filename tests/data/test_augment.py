"""Boxes, shifts and mirror images, against their definitions."""

import numpy as np
import pytest

from gradtx.data import Augmentation
from gradtx.data.augment import FLIP, X, Y, center_box, draw, random_box, shift


@pytest.mark.parametrize("size", [(213, 160), (160, 240), (500, 20), (1, 1)])
def test_boxes_lie_in_the_image_and_within_their_limits(size):
    augment = Augmentation()
    boxes = []
    for row in draw(count=2000, rng=np.random.default_rng(0)):
        left, top, right, bottom = random_box(*size, draws=row, augment=augment)
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        boxes.append((right - left, bottom - top))
    w, h = np.array(boxes).T
    assert np.all(w / h > 0.75 - 1e-9) and np.all(w / h < 4 / 3 + 1e-9)
    if max(size) < 2 * min(size):
        area = w * h / (size[0] * size[1])
        assert area.min() > 0.35 - 1e-9 and area.min() < 0.36 and area.max() > 0.85


def test_square_photos_get_areas_uniform_in_scale_where_all_boxes_fit():
    augment = Augmentation(scale=(0.2, 0.5))
    rows = draw(count=4000, rng=np.random.default_rng(1))
    boxes = np.array([random_box(100, 100, draws=row, augment=augment) for row in rows])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    quantiles = np.quantile(w * h / 1e4, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, [0.23, 0.35, 0.47], atol=0.01)
    np.testing.assert_allclose(
        np.quantile(np.log(w / h), [0.25, 0.5, 0.75]),
        np.log(4 / 3) * np.array([-0.5, 0, 0.5]),
        atol=0.02,
    )
    np.testing.assert_allclose((boxes[:, 0] / (100 - w)).mean(), 0.5, atol=0.02)


def test_the_whole_square_photo_is_a_box_of_scale_one():
    augment = Augmentation(scale=(1, 1), ratio=(1, 1))
    row = draw(count=1, rng=np.random.default_rng(0))[0]
    assert random_box(64, 64, draws=row, augment=augment) == (0, 0, 64, 64)
    assert center_box(213, 160) == (26.5, 0, 186.5, 160)


def test_shifts_and_mirror_images_are_those_drawn():
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (40, 2, 8, 16), np.uint8)
    draws = draw(count=40, rng=rng)
    got = shift(images, draws=draws, augment=Augmentation(pad=1 / 8))
    for image, row, out in zip(images, draws, got, strict=True):
        dy, dx = int(row[Y] * 3) - 1, int(row[X] * 5) - 2
        want = np.zeros_like(image)
        for y in range(8):
            for x in range(16):
                if 0 <= y + dy < 8 and 0 <= x + dx < 16:
                    want[:, y, x] = image[:, y + dy, x + dx]
        np.testing.assert_array_equal(out, want[:, :, ::-1] if row[FLIP] < 0.5 else want)


def test_with_no_pad_and_no_flip_nothing_changes():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 8, 8), np.uint8)
    still = Augmentation(pad=0, flip=False)
    np.testing.assert_array_equal(
        shift(images, draws=draw(count=5, rng=rng), augment=still), images
    )
