"""Boxes of images made blank."""

import jax
import jax.numpy as jnp

from gradtx.augment.boxes import inside, random_box
from gradtx.augment.checks import require
from gradtx.augment.crop import check_crop
from gradtx.augment.examples import Prepare, each_image
from gradtx.kinds import checked

SCALE, RATIO = (0.02, 0.33), (0.3, 3.3)


@checked
def random_erasing(
    probability: float = 0.25,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    value: float = 0.0,
    inputs: str = "image",
) -> Prepare:
    """Give a random box of some images one value: after `normalize` 0 is the mean color.

        area of the box ~ U(scale) height width        log(its width / height) ~ U(log(ratio))

    Args:
        probability: of an image to lose a box, in [0, 1].
        scale: (low, high) of the share of the area, in (0, 1].
        ratio: (low, high) of the box's width over its height, above 0.
        value: what the box gets.
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if a number is outside its bounds.

    Source: Zhong et al. (2020), "Random erasing data augmentation".
    """
    must, do = "be in [0, 1]", "Choose one such as 0.25."
    require("random_erasing", "probability", probability, lambda p: 0 <= p <= 1, must=must, do=do)
    check_crop("random_erasing", scale, ratio)

    def erase(image: jax.Array, key: jax.Array) -> jax.Array:
        of_whether, of_box = jax.random.split(key)
        height, width = image.shape[:2]
        box = random_box(of_box, height, width, scale=scale, ratio=ratio)
        erased = inside(box, height, width) & jax.random.bernoulli(of_whether, probability)
        return jnp.where(erased[:, :, None], jnp.asarray(value).astype(image.dtype), image)

    return each_image(erase, inputs=inputs)
