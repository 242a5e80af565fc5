"""Mixtures of two examples of a batch: MixUp blends them, CutMix puts a box of one on another."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.augment.boxes import inside
from gradtx.augment.checks import require
from gradtx.augment.examples import (
    Batch,
    Prepare,
    batch_key,
    entry,
    example_keys,
    require_images,
)
from gradtx.kinds import Count, checked


@checked
def mixup(
    alpha: float = 0.4, *, classes: Count, inputs: str = "image", label: str = "label"
) -> Prepare:
    """Mix every example with another of its batch, and their labels alike.

        x' = l x + (1 - l) x[other]        y' = l y + (1 - l) y[other]
        l = max(b, 1 - b), b ~ Beta(alpha, alpha) for each example        other: a permutation

    The loss must take probabilities, as `cross_entropy` does. An example of weight 0, which only
    fills up a batch, is mixed into none. `other` is drawn for the batch, so it is the same at one
    batch size alone; l is the example's own.

    Args:
        alpha: of the Beta distribution, positive; larger means more mixing.
        classes: their number.
        inputs: the batch's entry of examples, float[B, ...].
        label: its entry of labels: int[B], which becomes float32[B, classes], or float[B, classes].

    Raises:
        ValueError: if `alpha` is not positive and finite; on tracing, if inputs are not floating.

    Source: Zhang et al. (2018), "mixup"; l for each example and at least 1/2 is fastai's.
    """
    _check_alpha("mixup", alpha)

    def mix(x: jax.Array, other: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        share = jax.random.beta(key, alpha, alpha, (), jnp.float32)
        share = jnp.maximum(share, 1 - share)
        return _blend(x, other, share), share

    return _mixing("mixup", mix, classes, inputs, label)


@checked
def cutmix(
    alpha: float = 1.0, *, classes: Count, inputs: str = "image", label: str = "label"
) -> Prepare:
    """Put a box of another image of the batch onto every image, and mix the labels by its area.

        x' = x[other] in the box, else x        y' = l y + (1 - l) y[other]
        area of the box ~ 1 - Beta(alpha, alpha), as the image in shape, its center anywhere
        l = the share of the image outside the box, which is cut at the image's border

    The loss must take probabilities, as `cross_entropy` does. An example of weight 0, which only
    fills up a batch, is mixed into none. `other` is drawn for the batch, so it is the same at one
    batch size alone; the box is the example's own.

    Args:
        alpha: of the Beta distribution, positive.
        classes: their number.
        inputs: the batch's entry of images, float[B, H, W, C].
        label: its entry of labels, as for `mixup`.

    Raises:
        ValueError: if `alpha` is not positive and finite; on tracing, if inputs are not floating.

    Source: Yun et al. (2019), "CutMix".
    """
    _check_alpha("cutmix", alpha)

    def mix(x: jax.Array, other: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_area, of_place = jax.random.split(key)
        side = jnp.sqrt(1 - jax.random.beta(of_area, alpha, alpha, (), jnp.float32))
        height, width = x.shape[:2]
        y, x_ = jax.random.uniform(of_place, (2,), jnp.float32)
        h, w = side * height, side * width
        cut = inside(jnp.stack([y * height - h / 2, x_ * width - w / 2, h, w]), height, width)
        return jnp.where(cut[:, :, None], other, x), 1 - jnp.mean(cut.astype(jnp.float32))

    return _mixing("cutmix", mix, classes, inputs, label)


def _check_alpha(where: str, alpha: Any) -> None:
    must, do = "be positive", "Leave it out for no mixing."
    require(where, "alpha", alpha, lambda a: 0 < a < math.inf, must=must, do=do)


def _mixing(where: str, mix: Callable[..., Any], classes: int, inputs: str, label: str) -> Prepare:
    """An augmentation by `mix(x, other, key) -> (x', share of x in it)`, a function of examples."""
    classes = int(classes)

    def prepare(batch: Batch, key: jax.Array | None) -> Batch:
        require_images(where, batch, inputs=inputs)
        if key is None:
            return batch
        x, y = batch[inputs], entry(where, batch, label)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"{where}: batch[{inputs!r}] must be floating; got {x.dtype}. Put"
                " `gradtx.augment.normalize`, or what else scales the images, before it."
            )
        y = y if y.ndim == 2 else _one_hot(y, classes)
        of_pairs, of_shares = jax.random.split(key)
        other = jax.random.permutation(batch_key(batch, of_pairs), len(x))
        mixed, share = jax.vmap(mix)(x, x[other], example_keys(batch, of_shares, inputs=inputs))
        blended = jax.vmap(_blend)(y, y[other], share)
        if "weight" in batch:  # selected, not multiplied by 0: such a row may hold anything
            counts = batch["weight"][other] > 0
            mixed, blended = _where(counts, mixed, x), _where(counts, blended, y)
        return {**batch, inputs: mixed, label: blended}

    return prepare


def _one_hot(label: jax.Array, classes: int) -> jax.Array:
    """float32[B, classes]; NaN for a class that does not exist, so that its loss is NaN too."""
    known = (label >= 0) & (label < classes)
    return jnp.where(known[:, None], jax.nn.one_hot(label, classes, dtype=jnp.float32), jnp.nan)


def _where(rows: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(jnp.expand_dims(rows, range(1, old.ndim)), new, old)


def _blend(x: jax.Array, other: jax.Array, share: jax.Array) -> jax.Array:
    share = share.astype(x.dtype)
    return share * x + (1 - share) * other
