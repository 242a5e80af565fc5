"""Mirror images."""

import jax
import jax.numpy as jnp

from gradtx.augment.checks import require
from gradtx.augment.examples import Prepare, each_image
from gradtx.kinds import checked


@checked
def flip(probability: float = 0.5, *, inputs: str = "image") -> Prepare:
    """Mirror some images, left to right.

        image' = image[:, ::-1] with `probability`, else image

    Args:
        probability: of being mirrored, in [0, 1].
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if `probability` is outside [0, 1].
    """
    must, do = "be in [0, 1]", "Choose one such as 0.5."
    require("flip", "probability", probability, lambda p: 0 <= p <= 1, must=must, do=do)

    def mirror(image: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)

    return each_image(mirror, inputs=inputs)
