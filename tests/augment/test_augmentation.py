"""What a run's images undergo, as one value."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx import augment
from gradtx.augment import Augmentation

KEY = jax.random.key(0)
SHAPE = {"size": 8, "mean": (0.5,) * 3, "std": (0.25,) * 3, "classes": 4}


def batch():
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.integers(0, 256, (4, 12, 18, 3), np.uint8))
    ids = jnp.arange(4, dtype=jnp.int32)
    extent = jnp.array([[12, 18], [18, 12], [10, 11], [40, 50]], jnp.int32)
    return {"image": image, "label": ids, "id": ids, "size": extent}


def test_it_is_saved_as_json_and_read_again():
    chosen = Augmentation("rand", scale=(0.2, 0.9), flip=False, shift=0.1, erasing=0.5, mix="mixup")
    assert Augmentation(**json.loads(json.dumps(chosen.entries))) == chosen


def test_none_and_validation_are_the_plain_image():
    plain = augment.compose(augment.center_crop(8), augment.normalize((0.5,) * 3, (0.25,) * 3))
    want = plain(batch(), None)
    everything = Augmentation("rand", shift=0.2, erasing=1.0, mix="cutmix")
    still = jax.jit(Augmentation("none").prepare(photos=True, **SHAPE))(batch(), KEY)
    checked = everything.prepare(photos=True, **SHAPE)(batch(), None)
    for got in (still, checked):
        assert got.keys() == want.keys() == {"image", "label", "id"}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), got, want)


def test_one_choice_leaves_the_draws_of_the_others():
    make = lambda **how: jax.jit(Augmentation(**how).prepare(photos=True, **SHAPE))(batch(), KEY)
    base, mixed = make(), make(mix="mixup")
    assert mixed["label"].shape == (4, 4)
    share = np.asarray(mixed["label"])
    want = np.einsum("ij,jhwc->ihwc", share, np.asarray(base["image"]))
    np.testing.assert_allclose(mixed["image"], want, atol=1e-4)
    erased = np.asarray(make(erasing=1.0)["image"])
    kept = erased != 0
    assert not kept.all() and kept.mean() > 0.5
    np.testing.assert_allclose(erased[kept], np.asarray(base["image"])[kept], atol=1e-4)


def test_array_images_are_moved_not_cropped():
    images = {name: x for name, x in batch().items() if name != "size"}
    images["image"] = images["image"][:, :8, :8]
    got = Augmentation(shift=0.25).prepare(photos=False, **SHAPE)(images, KEY)["image"]
    scaled = augment.normalize((0.5,) * 3, (0.25,) * 3)
    levels = np.unique(np.asarray(scaled(images, None)["image"]))
    assert np.isin(np.asarray(got), [*levels, np.float32(-2)]).all()
    same = Augmentation(flip=False).prepare(photos=False, **SHAPE)(images, KEY)["image"]
    np.testing.assert_array_equal(same, scaled(images, None)["image"])


@pytest.mark.parametrize(
    ("how", "photos", "want"),
    [
        ({"kind": "none"}, True, "none"),
        ({"flip": False}, False, "none"),
        ({"shift": 0.125}, False, "moved by up to 0.125 of the side; half mirrored"),
        (
            {"kind": "rand", "erasing": 0.25, "mix": "mixup"},
            True,
            "random crops of 0.35 to 1 of the area and 0.75 to 1.33 in shape; half mirrored;"
            " RandAugment, 2 operations of strength 0.3; a box erased of 25%; mixup",
        ),
    ],
)
def test_it_says_what_is_done(how, photos, want):
    assert Augmentation(**how).describe(photos=photos) == want


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"kind": "much"}, "'much'"),
        ({"mix": "blend"}, "'blend'"),
        ({"scale": (0, 1)}, r"\(0, 1\)"),
        ({"scale": [0.5, 2]}, r"\(0\.5, 2\)"),
        ({"ratio": (2, 1)}, r"\(2, 1\)"),
        ({"shift": 1}, "1"),
        ({"erasing": 1.5}, r"1\.5"),
    ],
)
def test_values_out_of_range_are_refused(change, got):
    message = rf"Augmentation: `{next(iter(change))}` must .*; got {got}\. "
    with pytest.raises(ValueError, match=message):
        Augmentation(**change)
