"""Images moved by whole pixels."""

import jax
import jax.numpy as jnp

from gradtx.augment.checks import require
from gradtx.augment.examples import Prepare, each_image
from gradtx.kinds import checked


@checked
def shift(share: float = 1 / 8, *, inputs: str = "image") -> Prepare:
    """Move each image by whole pixels along both axes, with black (0) moving in.

        pixels ~ U{-p, ..., p} along each side        p = round(share side)

    Args:
        share: the largest move, as a share of the side, in [0, 1).
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if `share` is outside [0, 1).
    """
    must, do = "be in [0, 1)", "Choose a share of the side."
    require("shift", "share", share, lambda s: 0 <= s < 1, must=must, do=do)

    def move(image: jax.Array, key: jax.Array) -> jax.Array:
        most = tuple(round(share * side) for side in image.shape[:2])
        padded = jnp.pad(image, [(p, p) for p in most] + [(0, 0)])
        start = jax.random.randint(key, (2,), 0, 2 * jnp.array(most) + 1)
        return jax.lax.dynamic_slice(padded, (start[0], start[1], jnp.int32(0)), image.shape)

    return each_image(move, inputs=inputs)
