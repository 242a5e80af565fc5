"""Probabilities of a trained model, apart from any file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.run.probabilities import predict_images, predictor, top

CLASSES = 3


def apply(params, model_state, batch, *, key, training):
    """Outside training the statistics are used and stay."""
    assert not training
    x = batch["image"].reshape(len(batch["image"]), -1) - model_state["mean"]
    return x @ params["w"], model_state


RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.standard_normal((4, CLASSES)), jnp.float32)}
STATE = {"mean": jnp.full((1, 4), 0.5)}
IMAGES = RNG.standard_normal((7, 2, 2, 1)).astype(np.float32)


def want(images):
    logits = (np.float64(images).reshape(len(images), -1) - 0.5) @ np.float64(PARAMS["w"])
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 32])
def test_each_image_gets_its_own_probabilities(batch_size):
    got = predict_images(apply, PARAMS, STATE, IMAGES, batch_size=batch_size)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want(IMAGES), rtol=1e-5)


def test_half_precision_logits_give_probabilities_that_add_up_to_one():
    half = lambda *a, **k: (apply(*a, **k)[0].astype(jnp.bfloat16), STATE)
    got = predictor(half, PARAMS, STATE)({"image": IMAGES})
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-6)


def test_the_most_probable_come_first_and_equal_ones_in_order():
    assert top(np.array([0.25, 0.5, 0.25]), "abc", 9) == [("b", 0.5), ("a", 0.25), ("c", 0.25)]
    with pytest.raises(ValueError, match="`count` must be positive; got 0"):
        top(np.ones(1), "a", 0)
    with pytest.raises(ValueError, match="`probabilities` must be numbers; got NaN"):
        top(np.array([0.5, np.nan]), "ab", 1)


def flipped_or_noisy(batch, key):
    """Without a key as it is; else each image by its number and the key."""
    if key is None:
        return batch
    ids = batch.get("id", jnp.arange(len(batch["image"])))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, ids)
    noise = jax.vmap(lambda k: jax.random.normal(k, (2, 2, 1)))(keys)
    return {**batch, "image": batch["image"] + noise}


@pytest.mark.parametrize("beta", [0.25, 0.0, 1.0])
def test_augmented_copies_are_averaged_and_mixed_with_the_image_itself(beta):
    """As fastai's tta: lerp(mean of the augmented, plain, beta), of probabilities."""
    copies = []
    for i in range(3):
        key = jax.random.fold_in(jax.random.key(5), i)
        copies.append(want(np.asarray(flipped_or_noisy({"image": IMAGES}, key)["image"])))
    expected = beta * want(IMAGES) + (1 - beta) * np.mean(copies, axis=0)
    how = {"prepare": flipped_or_noisy, "tta": 3, "beta": beta, "seed": 5}
    for batch_size in (3, 32):  # each image has the same copies in every batch
        got = predict_images(apply, PARAMS, STATE, IMAGES, batch_size=batch_size, **how)
        np.testing.assert_allclose(got, expected, rtol=2e-5)
    again = predict_images(apply, PARAMS, STATE, IMAGES, **how | {"seed": 6})
    assert beta == 1 or not np.allclose(again, expected, rtol=1e-3)


def test_copies_need_an_augmentation_and_predictions_images():
    with pytest.raises(ValueError, match="`tta` needs `prepare`, which makes the augmented copies"):
        predict_images(apply, PARAMS, STATE, IMAGES, tta=2)
    with pytest.raises(ValueError, match="predict_images: `images` must have one at least"):
        predict_images(apply, PARAMS, STATE, IMAGES[:0])
    with pytest.raises(ValueError, match="`tta` must be at least 0"):
        predictor(apply, PARAMS, STATE, prepare=flipped_or_noisy, tta=-1)
