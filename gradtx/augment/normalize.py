"""Levels to numbers of about zero mean and unit variance."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gradtx.augment.checks import require
from gradtx.augment.examples import Batch, Prepare, entry
from gradtx.kinds import checked


@checked
def normalize(mean: Sequence[float], std: Sequence[float], *, inputs: str = "image") -> Prepare:
    """Images in 0..255 as float32 of about zero mean and unit variance, with or without a key.

        image' = image / (255 std) - mean / std

    Args:
        mean: of each channel, of images in [0, 1].
        std: the standard deviation of each channel, of images in [0, 1].
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if a standard deviation is not positive; if the batch has no such entry.
    """
    must, do = "be positive for each channel", "Take 1 for a channel of one value."
    require("normalize", "std", tuple(std), lambda *s: all(x > 0 for x in s), must=must, do=do)

    def prepare(batch: Batch, key: jax.Array | None) -> Batch:
        del key
        images = entry("normalize", batch, inputs).astype(jnp.float32)
        center, scale = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
        wide = lambda x: x.reshape((1,) * (images.ndim - 1) + (-1,))
        return {**batch, inputs: images * wide(1 / (255 * scale)) - wide(center / scale)}

    return prepare
