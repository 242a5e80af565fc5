"""MixUp and CutMix: inputs and labels alike, and nothing of rows that only fill up a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.augment import cutmix, mixup, rand_augment
from gradtx.loop import cross_entropy

KEY = jax.random.key(0)
BOTH = pytest.mark.parametrize("make", [mixup, cutmix])


def colors(count=16, side=12):
    """Example i has the i-th unit vector in every pixel, and the label i."""
    eye = jnp.eye(count, dtype=jnp.float32)
    image = jnp.broadcast_to(eye[:, None, None, :], (count, side, side, count))
    label = jnp.arange(count, dtype=jnp.int32)
    return {"image": image, "label": label, "id": label + 50}


@BOTH
def test_inputs_and_labels_are_mixed_alike(make):
    batch = colors()
    got = jax.jit(make(classes=16))(batch, KEY)
    np.testing.assert_allclose(got["image"].mean(axis=(1, 2)), got["label"], atol=1e-5)
    label = np.asarray(got["label"])
    np.testing.assert_allclose(label.sum(axis=1), 1, rtol=1e-5)
    others = label - np.diag(np.diag(label))
    assert ((others > 0).sum(axis=0) <= 1).all() and (others > 0).sum() > 8  # a permutation
    loss = cross_entropy(jnp.zeros((16, 16)), got)
    np.testing.assert_allclose(loss, np.log(16), rtol=1e-5)
    assert make(classes=16)(batch, None) is batch
    again = make(classes=16)(batch | {"label": jnp.eye(16)}, KEY)
    np.testing.assert_allclose(again["label"], label, atol=1e-6)


def test_mixup_keeps_at_least_half_of_each_image():
    label = np.asarray(mixup(1.0, classes=400)(colors(400, 1), KEY)["label"])
    share = np.diag(label)
    assert (share >= 0.5).all()
    np.testing.assert_allclose(
        np.quantile(share, [0.25, 0.5, 0.75]), [0.625, 0.75, 0.875], atol=0.05
    )


def test_cutmix_puts_one_box_onto_each_image():
    got = np.asarray(cutmix(classes=16)(colors(), KEY)["image"])
    own = got[np.arange(16), :, :, np.arange(16)]
    assert set(np.unique(own)) == {0, 1}  # nothing is blended
    box = own == 0
    rows, columns = box.any(axis=2).sum(axis=1), box.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(box.sum(axis=(1, 2)), rows * columns)
    assert len(np.unique(rows * columns)) > 8


@BOTH
def test_shares_belong_to_the_example_and_pairs_to_the_batch(make):
    batch = colors()
    shares = lambda got: np.sort(np.asarray(got["label"]), axis=1)[:, -2:]
    whole = make(classes=16)(batch, KEY)
    turned = make(classes=16)({name: x[::-1] for name, x in batch.items()}, KEY)
    paired = lambda got: (np.asarray(got["label"]) > 0).sum(axis=1) == 2
    both = paired(whole) & paired(turned)[::-1]
    assert both.sum() > 8
    np.testing.assert_allclose(shares(whole)[both], shares(turned)[::-1][both], rtol=1e-6)
    # Another batch of the epoch pairs its rows in another order.
    other = make(classes=16)(batch | {"id": batch["id"] + 16}, KEY)
    pairs = [np.asarray(got["label"]) > 0 for got in (whole, other)]
    assert (pairs[0] != pairs[1]).any()


@BOTH
def test_a_row_of_weight_0_is_mixed_into_none(make):
    batch = colors()
    weight = jnp.asarray(np.arange(16) % 2, jnp.float32)
    spoilt = batch["image"].at[0::2].set(jnp.nan)
    got = make(classes=16)(batch | {"image": spoilt, "weight": weight}, KEY)
    label = np.asarray(got["label"])
    assert np.isfinite(np.asarray(got["image"])[1::2]).all()
    assert not label[1::2, 0::2].any() and (label[1::2, 1::2] > 0).sum() > 8


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), float("inf")])
@BOTH
def test_alpha_must_be_positive(make, alpha):
    with pytest.raises(
        ValueError,
        match=rf"{make.__name__}: `alpha` must be (positive|a finite number); got {alpha}",
    ):
        make(alpha, classes=3)


@BOTH
def test_whole_numbers_are_refused_and_alpha_may_be_traced(make):
    batch = colors()
    message = rf"{make.__name__}: batch\['image'\] must be floating; got uint8\. Put .*normalize"
    with pytest.raises(ValueError, match=message):
        make(classes=16)(batch | {"image": batch["image"].astype(jnp.uint8)}, KEY)

    def kept(alpha):
        label = make(alpha, classes=16)(batch, KEY)["label"]
        return jnp.mean(jnp.sum(jnp.square(label), axis=1))

    slope = jax.jit(jax.grad(kept))(0.8)
    assert np.isfinite(slope) and (slope != 0 or make is cutmix)


def test_whole_numbers_may_be_floats():
    batch = {"image": jnp.ones((2, 4, 4, 3)), "label": jnp.array([0, 1])}
    mixed = mixup(classes=2.0)(batch, jax.random.key(0))  # pyright: ignore
    assert mixed["label"].shape == (2, 2)
    some = rand_augment(2.0)  # pyright: ignore
    images = {"image": jnp.zeros((2, 4, 4, 3), jnp.uint8)}
    assert jax.eval_shape(some, images, jax.random.key(0))["image"].shape == (2, 4, 4, 3)
