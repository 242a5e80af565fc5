"""Boxes and resampling, against their definitions and against Pillow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gradtx import augment
from gradtx.augment.boxes import middle_box, random_box

CANVAS = (40, 60)
# Photos (height, width): fit; portrait; square; too large, each axis by itself; tiny.
SIZES = [(33, 51), (58, 40), (40, 40), (90, 120), (150, 75), (41, 60), (3, 5)]


def photo(size, seed=0):
    """Smooth noise with sharp edges, uint8[h, w, 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    fine = rng.integers(0, 256, (*size, 3), np.uint8)
    image = np.asarray(coarse.resize(size[::-1], Image.Resampling.NEAREST))
    return np.where(rng.random((*size, 1)) < 0.3, fine, image).astype(np.uint8)


def lay(image, outside=0):
    """The photo on a canvas: portraits transposed, each axis reduced if it is too long."""
    lying = image.swapaxes(0, 1) if image.shape[0] > image.shape[1] else image
    rows, columns = (min(n, most) for n, most in zip(lying.shape[:2], CANVAS, strict=True))
    reduced = np.asarray(Image.fromarray(lying).resize((columns, rows), Image.Resampling.BILINEAR))
    canvas = np.full((*CANVAS, 3), outside, np.uint8)
    canvas[:rows, :columns] = reduced
    return canvas


def upright(canvas, size):
    """What of the photo is on the canvas, upright again."""
    rows, columns = min(min(size), CANVAS[0]), min(max(size), CANVAS[1])
    part = canvas[:rows, :columns]
    return part.swapaxes(0, 1) if size[0] > size[1] else part


def by_pillow(part, size, box, side):
    """The box (top, left, height, width) of a photo of `size` pixels, from what is kept of it."""
    down, across = part.shape[0] / size[0], part.shape[1] / size[1]
    top, left, h, w = np.asarray(box, float)
    corners = (left * across, top * down, (left + w) * across, (top + h) * down)
    # Pillow has no box beyond the border, not even by rounding.
    corners = np.clip(corners, 0, [*part.shape[1::-1], *part.shape[1::-1]])
    image = Image.fromarray(np.ascontiguousarray(part))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=tuple(corners)))


def batch_of(sizes, outside=0):
    canvases = [lay(photo(size, seed), outside) for seed, size in enumerate(sizes)]
    return {
        "image": jnp.asarray(np.stack(canvases)),
        "size": jnp.array(sizes, jnp.int32),
        "id": jnp.arange(len(sizes), dtype=jnp.int32) + 100,
    }


@pytest.mark.parametrize("side", [24, pytest.param(64, marks=pytest.mark.thorough)])
def test_crops_are_pillows_within_two_levels(side):
    sizes = SIZES * 6
    batch, key = batch_of(sizes), jax.random.key(1)
    crop = jax.jit(augment.random_resized_crop(side, scale=(0.05, 1)))
    got = crop(batch, key)
    assert got["image"].shape == (len(sizes), side, side, 3) and got.keys() == {"image", "id"}
    assert got["image"].dtype == jnp.float32
    for i, size in enumerate(sizes):
        own = jax.random.fold_in(key, batch["id"][i])
        box = random_box(own, *size, scale=(0.05, 1), ratio=(3 / 4, 4 / 3))
        want = by_pillow(upright(np.asarray(batch["image"][i]), size), size, box, side)
        np.testing.assert_allclose(got["image"][i], want, atol=1.5)
    plain = crop(batch, None)["image"]
    for i, size in enumerate(sizes[: len(SIZES)]):
        part = upright(np.asarray(batch["image"][i]), size)
        want = by_pillow(part, size, middle_box(*size), side)
        np.testing.assert_allclose(plain[i], want, atol=1.5)
    center = jax.jit(augment.center_crop(side))(batch, key)["image"]
    np.testing.assert_allclose(center, plain, atol=1e-3)


def test_the_canvas_outside_a_photo_counts_nothing():
    crop = jax.jit(augment.random_resized_crop(16))
    black, white = (crop(batch_of(SIZES, o), jax.random.key(0))["image"] for o in (0, 255))
    np.testing.assert_array_equal(black, white)


def test_an_image_is_its_own_canvas_without_a_size():
    images = np.stack([photo((20, 30), seed) for seed in range(3)])
    batch = {"image": jnp.asarray(images)}
    middle = augment.random_resized_crop(12)(batch, None)["image"]
    whole = augment.resize(12)(batch, jax.random.key(0))["image"]
    for i, image in enumerate(images):
        want = by_pillow(image, (20, 30), (0, 5, 20, 20), 12)
        np.testing.assert_allclose(middle[i], want, atol=1.5)
        want = by_pillow(image, (20, 30), (0, 0, 20, 30), 12)
        np.testing.assert_allclose(whole[i], want, atol=1.5)
    square = {"image": batch["image"][:, :, :20]}
    assert augment.resize(20)(square, None) is square


def test_resize_takes_the_whole_photo_of_a_canvas():
    batch = batch_of(SIZES)
    got = augment.resize(16)(batch, None)
    assert "size" not in got
    for i, size in enumerate(SIZES):
        part = upright(np.asarray(batch["image"][i]), size)
        want = by_pillow(part, size, (0, 0, *size), 16)
        np.testing.assert_allclose(got["image"][i], want, atol=1.5)


@pytest.mark.parametrize(
    "make",
    [
        augment.flip,
        augment.shift,
        augment.rand_augment,
        augment.random_erasing,
        lambda: augment.mixup(classes=9),
        lambda: augment.cutmix(classes=9),
    ],
)
def test_what_takes_canvases_for_images_is_refused(make):
    for key in (jax.random.key(0), None):
        with pytest.raises(ValueError, match=r"images must fill their arrays; .*Put `random_res"):
            make()(batch_of(SIZES), key)


@pytest.mark.parametrize("new", [5, 28, 32, 61])
@pytest.mark.parametrize("shape", [(28, 28), (17, 40)])
def test_resize_agrees_with_pillow(new, shape):
    image = np.random.default_rng(1).random(shape, np.float32) * 255
    want = Image.fromarray(image).resize((new, new), Image.Resampling.BILINEAR)
    got = augment.resize(new)({"image": jnp.asarray(image)[None, :, :, None]}, None)["image"]
    np.testing.assert_allclose(got[0, :, :, 0], np.asarray(want), rtol=1e-4, atol=2e-3)


def boxes(size, count=2000, **how):
    how = {"scale": (0.35, 1.0), "ratio": (3 / 4, 4 / 3)} | how
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: random_box(key, *size, **how)))(keys)).T


@pytest.mark.parametrize("size", [(160, 213), (240, 160), (20, 500), (1, 1)])
def test_boxes_lie_in_the_image_and_within_their_limits(size):
    top, left, h, w = boxes(size)
    slack = 1e-4 * max(size)
    assert (top >= 0).all() and (left >= 0).all() and (h > 0).all() and (w > 0).all()
    assert (top + h <= size[0] + slack).all() and (left + w <= size[1] + slack).all()
    assert (w / h > 0.75 - 1e-5).all() and (w / h < 4 / 3 + 1e-5).all()
    if max(size) < 2 * min(size):
        area = w * h / (size[0] * size[1])
        assert area.min() > 0.35 - 1e-5 and area.min() < 0.36 and area.max() > 0.85


def test_areas_are_uniform_in_scale_where_all_boxes_fit():
    top, left, h, w = boxes((100, 100), 4000, scale=(0.2, 0.5))
    quantiles = np.quantile(w * h / 1e4, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, [0.23, 0.35, 0.47], atol=0.02)
    want = np.log(4 / 3) * np.array([-0.5, 0, 0.5])
    np.testing.assert_allclose(np.quantile(np.log(w / h), [0.25, 0.5, 0.75]), want, atol=0.03)
    np.testing.assert_allclose(
        [(left / (100 - w)).mean(), (top / (100 - h)).mean()], 0.5, atol=0.03
    )


def test_the_whole_square_is_a_box_of_scale_one():
    got = boxes((64, 64), 20, scale=(1, 1), ratio=(1, 1)).T
    np.testing.assert_allclose(got, np.broadcast_to([0, 0, 64, 64], got.shape), atol=1e-4)
    np.testing.assert_array_equal(middle_box(160, 213), [0, 26.5, 160, 160])


def test_a_crop_has_a_derivative_with_respect_to_its_scale():
    ramp = jnp.broadcast_to(jnp.arange(30.0)[None, :, None, None], (1, 30, 30, 1))

    @jax.jit
    def mean(low):
        crop = augment.random_resized_crop(8, scale=(low, 1.0))
        return jnp.mean(crop({"image": ramp}, jax.random.key(0))["image"])

    step = 1e-2
    want = (mean(0.4 + step) - mean(0.4 - step)) / (2 * step)
    assert abs(want) > 0.5
    np.testing.assert_allclose(jax.grad(mean)(0.4), want, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"scale": (0, 1)}, r"\(0, 1\)"),
        ({"scale": (0.9, 0.5)}, r"\(0\.9, 0\.5\)"),
        ({"scale": (0.5, 2)}, r"\(0\.5, 2\)"),
        ({"scale": 0.5}, r"float \(0\.5\)"),
        ({"ratio": (0, 1)}, r"\(0, 1\)"),
        ({"ratio": (float("nan"), 1)}, r"\(nan, 1\)"),
        ({"size": 0}, "0"),
    ],
)
def test_numbers_outside_their_bounds_are_refused(change, got):
    message = rf"random_resized_crop: `{next(iter(change))}` must .*; got {got}\. "
    with pytest.raises((TypeError, ValueError), match=message):
        augment.random_resized_crop(**{"size": 8} | change)
