"""Images moved by whole pixels."""

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gradtx.augment.checks import require
from gradtx.augment.examples import Prepare, each_image
from gradtx.kinds import checked


@checked
def shift(share: float = 1 / 8, *, inputs: str = "image") -> Prepare:
    """Move each image by whole pixels along both axes, with black (0) moving in.

        pixels ~ U{-p, ..., p} along each side        p = round(share side)

    Args:
        share: the largest move, as a share of the side, in [0, 1); it may be traced.
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if `share` is outside [0, 1).
    """
    must, do = "be in [0, 1)", "Choose a share of the side."
    require("shift", "share", share, lambda s: 0 <= s < 1, must=must, do=do)

    def move(image: jax.Array, key: jax.Array) -> jax.Array:
        sides = image.shape[:2]
        traced = isinstance(share, Tracer)  # then the room around the image is its whole side
        room = sides if traced else tuple(round(share * side) for side in sides)
        most = jnp.array(room, jnp.int32)
        if traced:
            most = jnp.round(share * jnp.array(sides, jnp.float32)).astype(jnp.int32)
        padded = jnp.pad(image, [(p, p) for p in room] + [(0, 0)])
        start = jax.random.randint(key, (2,), 0, 2 * most + 1, jnp.int32)
        start = jnp.array(room, jnp.int32) - most + start
        return jax.lax.dynamic_slice(padded, (start[0], start[1], jnp.int32(0)), image.shape)

    return each_image(move, inputs=inputs)
