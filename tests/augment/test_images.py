"""What is done to each image by itself: its own draws, and what each augmentation makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from gradtx import augment
from gradtx.augment.rand_augment import COLORS, _matrix, _warp

KEY = jax.random.key(3)


def pictures(count=12, height=16, width=20, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 5, 3), np.uint8)
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(c).resize(size, Image.BILINEAR)) for c in coarse])


def batch_of(images):
    ids = jnp.arange(len(images), dtype=jnp.int32)
    return {"image": jnp.asarray(images), "label": ids, "id": ids}


def test_an_image_draws_the_same_in_whatever_batch_it_comes():
    batch = batch_of(pictures(height=24, width=24))
    prepare = jax.jit(
        augment.compose(
            augment.random_resized_crop(16),
            augment.flip(),
            augment.shift(),
            augment.each_image(lambda image, key: image + jax.random.normal(key, image.shape)),
            augment.normalize((0.5,) * 3, (0.25,) * 3),
            augment.random_erasing(0.5),
        )
    )
    whole = prepare(batch, KEY)
    for rows in ([7, 3, 11, 0], np.arange(12)[::-1]):
        part = prepare({name: x[np.asarray(rows)] for name, x in batch.items()}, KEY)
        for name, x in part.items():
            np.testing.assert_allclose(x, whole[name][np.asarray(rows)], atol=1e-4)
    other = prepare(batch, jax.random.key(4))["image"]
    assert (np.abs(other - whole["image"]).max(axis=(1, 2, 3)) > 0.1).all()
    plain = prepare(batch, None)
    want = augment.normalize((0.5,) * 3, (0.25,) * 3)(augment.center_crop(16)(batch, None), None)
    np.testing.assert_allclose(plain["image"], want["image"], atol=1e-4)


def test_without_ids_rows_draw_by_their_number():
    batch = batch_of(pictures())
    noise = augment.each_image(lambda image, key: jax.random.normal(key, image.shape))
    rows = noise({"image": batch["image"]}, KEY)
    np.testing.assert_array_equal(rows["image"], noise(batch, KEY)["image"])
    assert len(np.unique(np.asarray(rows["image"])[:, 0, 0, 0])) == 12


def test_each_part_of_a_composition_has_a_key_of_its_own():
    draw = augment.each_image(lambda image, key: jax.random.uniform(key, (1,)))
    keep = lambda batch, key: {**batch, "first": batch["image"]}
    got = augment.compose(draw, keep, draw)(batch_of(pictures()), KEY)
    assert not np.any(np.asarray(got["first"]) == np.asarray(got["image"]))


def test_mirror_images_are_half_of_all():
    images = pictures(400, 4, 6)
    got = np.asarray(augment.flip()(batch_of(images), KEY)["image"])
    assert got.dtype == np.uint8
    mirrored = (got == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((got == images).all(axis=(1, 2, 3)) | mirrored).all()
    assert 150 < mirrored.sum() < 250
    for probability, want in ((0.0, images), (1.0, images[:, :, ::-1])):
        np.testing.assert_array_equal(
            augment.flip(probability)(batch_of(images), KEY)["image"], want
        )


def test_shifts_are_whole_pixels_with_black_moving_in():
    images = np.random.default_rng(0).integers(1, 256, (300, 8, 16, 2), np.uint8)
    got = np.asarray(augment.shift(1 / 8)(batch_of(images), KEY)["image"])
    seen = set()
    for image, out in zip(images, got, strict=True):
        found = []
        for dy in (-1, 0, 1):
            for dx in (-2, -1, 0, 1, 2):
                want = np.zeros_like(image)
                to = np.s_[max(dy, 0) : 8 + min(dy, 0), max(dx, 0) : 16 + min(dx, 0)]
                of = np.s_[max(-dy, 0) : 8 + min(-dy, 0), max(-dx, 0) : 16 + min(-dx, 0)]
                want[to] = image[of]
                found += [(dy, dx)] if np.array_equal(out, want) else []
        assert len(found) == 1
        seen |= set(found)
    assert len(seen) == 15
    np.testing.assert_array_equal(augment.shift(0)(batch_of(images), KEY)["image"], images)


def test_a_traced_share_moves_as_a_number_does():
    batch = batch_of(pictures(6))
    moved = jax.jit(lambda share: augment.shift(share)(batch, KEY)["image"])(0.25)
    np.testing.assert_array_equal(moved, augment.shift(0.25)(batch, KEY)["image"])


@pytest.mark.parametrize(
    "make",
    [
        lambda **names: augment.random_resized_crop(8, **names),
        lambda **names: augment.center_crop(8, **names),
        lambda **names: augment.resize(8, **names),
        augment.flip,
        augment.shift,
        augment.rand_augment,
        augment.random_erasing,
        lambda **names: augment.normalize([0.5], [0.5], **names),
        lambda **names: augment.mixup(classes=12, **names),
        lambda **names: augment.cutmix(classes=12, **names),
    ],
)
def test_a_missing_entry_is_named(make):
    with pytest.raises(ValueError, match=r"must have an entry 'x'; got image, label, id\. Name "):
        make(inputs="x")(batch_of(pictures(2)), KEY)


def test_images_without_channels_are_refused_and_labels_are_asked_for():
    flat = {"image": jnp.zeros((2, 8, 8))}
    for make in (augment.random_resized_crop, augment.center_crop, augment.resize):
        with pytest.raises(ValueError, match=r"must be images \[B, H, W, C\]; got .* \[2, 8, 8\]"):
            make(4)(flat, KEY)
    with pytest.raises(ValueError, match=r"mixup: the batch must have an entry 'label'; got image"):
        augment.mixup(classes=3)(flat, KEY)


def test_normalized_levels_are_those_of_the_definition():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.1])
    for key in (KEY, None):
        got = augment.normalize(mean, std)(batch_of(images), key)["image"]
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, (images / 255 - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
def test_erased_boxes_are_of_the_sizes_drawn():
    images = np.ones((600, 40, 40, 3), np.float32)
    got = np.asarray(augment.random_erasing(0.5, value=7.0)(batch_of(images), KEY)["image"])
    assert set(np.unique(got)) == {1, 7}
    erased = (got == 7).all(axis=-1)
    hit = erased.any(axis=(1, 2))
    assert 240 < hit.sum() < 360
    rows, columns = erased.any(axis=2).sum(axis=1)[hit], erased.any(axis=1).sum(axis=1)[hit]
    np.testing.assert_array_equal(erased.sum(axis=(1, 2))[hit], rows * columns)  # boxes
    area = rows * columns / 1600
    assert area.min() < 0.04 and 0.3 < area.max() < 0.36


def act(image, kind, s, sign=(1.0, 1.0)):
    """The operation of that number, as `rand_augment` composes it."""
    sign, s = jnp.array(sign), jnp.float32(s)
    image = jnp.asarray(image, jnp.float32)
    if kind < len(COLORS):
        return np.asarray(COLORS[kind](image, s, sign))
    return np.asarray(_warp(image, _matrix(jnp.int32(kind - len(COLORS)), s, sign)))


def test_changes_of_color_are_pillows():
    for image in pictures(3):
        pillow = Image.fromarray(image)
        for kind, enhance in ((1, "Brightness"), (2, "Contrast"), (3, "Color")):
            for sign in (1.0, -1.0):
                want = getattr(ImageEnhance, enhance)(pillow).enhance(1 + 0.9 * 0.5 * sign)
                got = act(image, kind, 0.5, (sign, 1.0))
                np.testing.assert_allclose(got, np.asarray(want, float), atol=2.0)
        want = np.asarray(ImageOps.solarize(pillow, 128))
        np.testing.assert_array_equal(act(image, 4, 0.5), want)
        want = np.asarray(ImageOps.posterize(pillow, 6))
        np.testing.assert_array_equal(act(image, 5, 0.5), want)


@pytest.mark.parametrize(("kind", "s", "level"), [(4, 0.2, 204), (5, 1.0, 128), (5, 0.3, 254)])
def test_jumps_by_level_do_not_depend_on_rounding(kind, s, level):
    near = np.float32(level) + np.array([-1e-4, 0, 1e-4], np.float32)
    got = act(np.broadcast_to(near[:, None, None], (3, 2, 3)), kind, s)
    assert np.ptp(got) < 1e-3


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        (6, [[np.cos(np.pi / 12), np.sin(np.pi / 12), 0], [-np.sin(np.pi / 12), 0.9659258, 0]]),
        (7, [[1, 0, 0], [0.15, 1, 0]]),
        (8, [[1, 0.15, 0], [0, 1, 0]]),
        (9, [[1, 0, 0.225 * 16], [0, 1, -0.225 * 20]]),
    ],
)
def test_changes_of_shape_are_pillows_transforms(kind, matrix):
    image = pictures(1)[0]
    (a, b, c), (d, e, f) = matrix  # of (y, x), from the middle
    # Pillow's coefficients are of (x, y), from the corner, with pixel centers at one half.
    y0, x0 = 8, 10
    across = (e, d, x0 - e * x0 - d * y0 + f)
    down = (b, a, y0 - b * x0 - a * y0 + c)
    want = Image.fromarray(image).transform(
        (20, 16), Image.Transform.AFFINE, (*across, *down), Image.Resampling.BILINEAR
    )
    got = act(image, kind, 0.5, (1.0, -1.0))
    close = np.abs(got - np.asarray(want, float)).max(axis=-1) < 3
    # At the border Pillow extends the image by half a pixel.
    assert close[1:-1, 1:-1].mean() > 0.85 and close.mean() > 0.8


def test_rand_augment_of_no_strength_changes_nothing_and_of_some_most():
    images = pictures(64)
    prepare = jax.jit(lambda s: augment.rand_augment(2, s)(batch_of(images), KEY)["image"])
    still = np.asarray(prepare(0.0))
    assert images.max() == 255  # which would be inverted first
    np.testing.assert_allclose(still, images, atol=1e-3)
    moved = np.asarray(prepare(0.5))
    changed = np.abs(moved - images).max(axis=(1, 2, 3)) > 1
    assert 0.9 < changed.mean() <= 1 and moved.min() >= -1e-3 and moved.max() <= 255.001
    slope = jax.jit(jax.grad(lambda s: jnp.mean(prepare(s))))(0.3)
    assert np.isfinite(slope) and slope != 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.flip(2), r"flip: `probability` must be in \[0, 1\]; got 2\. "),
        (lambda: augment.shift(1), r"shift: `share` must be in \[0, 1\); got 1\. "),
        (lambda: augment.random_erasing(-1), r"random_erasing: `probability` must .*; got -1\. "),
        (lambda: augment.random_erasing(scale=(0, 2)), r"random_erasing: `scale` must .*; got "),
        (lambda: augment.rand_augment(0), r"rand_augment: `operations` must .*; got 0\. "),
        (lambda: augment.rand_augment(strength=2), r"rand_augment: `strength` must .*; got 2\. "),
        (lambda: augment.resize(0), r"resize: `size` must be at least 1, whole .*; got 0\. "),
        (lambda: augment.normalize([0], [0]), r"normalize: `std` must .*; got \(0,\)\. "),
    ],
)
def test_numbers_outside_their_bounds_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
