"""A few random changes of color and shape for each image, all of one strength."""

import math

import jax
import jax.numpy as jnp

from gradtx.augment.checks import require
from gradtx.augment.examples import Prepare, each_image
from gradtx.kinds import Count, checked

GRAY = (0.299, 0.587, 0.114)  # shares of red, green and blue in brightness, ITU-R 601


@checked
def rand_augment(operations: Count = 2, strength: float = 0.3, *, inputs: str = "image") -> Prepare:
    """Change each image by some operations in turn, each drawn anew from ten.

        identity                brightness, contrast, color: x 1 +- .9 s
        solarize: levels of 255 (1 - s) and more are inverted, if s > 0
        posterize: to about 8 - 4 s bits        rotate: +- 30 s degrees
        shear along x or y: +- .3 s             translate along x and y: +- .45 s of the side

    where s is the strength and each sign is drawn. Images are in 0..255, before `normalize`; black
    moves in. Solarize and posterize go by the nearest whole level. Derivatives with respect to the
    strength go through all others.

    Args:
        operations: how many in turn, at least 1.
        strength: s, in [0, 1].
        inputs: the batch's entry of images in 0..255, [B, H, W, C]; they come out in float32.

    Raises:
        ValueError: if a number is outside its bounds.

    Source: Cubuk et al. (2020), "RandAugment".
    """
    must, do = "be in [0, 1]", "Choose one such as 0.3."
    require("rand_augment", "strength", strength, lambda s: 0 <= s <= 1, must=must, do=do)

    def change(image: jax.Array, key: jax.Array) -> jax.Array:
        image, s = image.astype(jnp.float32), jnp.asarray(strength, jnp.float32)
        for each in jax.random.split(key, int(operations)):
            of_kind, of_sign = jax.random.split(each)
            kind = jax.random.randint(of_kind, (), 0, len(COLORS) + len(SHAPES))
            sign = jax.random.rademacher(of_sign, (2,), jnp.float32)
            image = jax.lax.switch(jnp.minimum(kind, len(COLORS)), [*COLORS, _same], image, s, sign)
            image = _warp(image, _matrix(kind - len(COLORS), s, sign))
        return image

    return each_image(change, inputs=inputs)


def _same(image: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    del s, sign
    return image


def _apart(image: jax.Array, base: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    """What the image differs by from `base`, more or less of it."""
    return jnp.clip(base + (1 + 0.9 * s * sign[0]) * (image - base), 0, 255)


def _brightness(image: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    return _apart(image, jnp.zeros_like(image), s, sign)


def _contrast(image: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    return _apart(image, jnp.full_like(image, jnp.mean(_gray(image))), s, sign)


def _color(image: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    return _apart(image, jnp.broadcast_to(_gray(image), image.shape), s, sign)


def _gray(image: jax.Array) -> jax.Array:
    """float32[H, W, 1]: the brightness; of other than three channels their mean."""
    channels = image.shape[-1]
    shares = jnp.array(GRAY if channels == 3 else (1 / channels,) * channels, jnp.float32)
    return jnp.sum(image * shares[None, None, :], axis=-1, keepdims=True)


# A crop of a flat image is flat but for rounding, which differs by batch: jumps go by whole levels.
def _solarize(image: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    del sign
    return jnp.where((s > 0) & (jnp.round(image) >= 255 * (1 - s)), 255 - image, image)


def _posterize(image: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    del sign
    step = jnp.exp2(jnp.round(4 * s))
    return jnp.floor(jnp.round(image) / step) * step


COLORS = (_same, _brightness, _contrast, _color, _solarize, _posterize)
SHAPES = ("rotate", "shear x", "shear y", "translate")


def _matrix(shape: jax.Array, s: jax.Array, sign: jax.Array) -> jax.Array:
    """float32[2, 3]: where a pixel comes from, (y, x) from the middle in shares of the side."""
    angle, lean, move = math.radians(30) * s * sign[0], 0.3 * s * sign[0], 0.45 * s * sign
    one, zero = jnp.ones(()), jnp.zeros(())
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    forms = [
        [[cos, sin, zero], [-sin, cos, zero]],
        [[one, zero, zero], [lean, one, zero]],
        [[one, lean, zero], [zero, one, zero]],
        [[one, zero, move[0]], [zero, one, move[1]]],
        [[one, zero, zero], [zero, one, zero]],
    ]
    table = jnp.stack([jnp.stack([jnp.stack(row) for row in form]) for form in forms])
    return table[jnp.where(shape < 0, len(SHAPES), shape)]


def _warp(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """The image whose pixels come from where `matrix` says, bilinearly."""
    height, width, _ = image.shape
    y = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    x = jnp.arange(width, dtype=jnp.float32)[None, :] - (width - 1) / 2
    y, x = jnp.broadcast_to(y, (height, width)), jnp.broadcast_to(x, (height, width))
    rows = matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2] * height + (height - 1) / 2
    columns = matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2] * width + (width - 1) / 2
    take = lambda channel: jax.scipy.ndimage.map_coordinates(channel, [rows, columns], order=1)
    return jax.vmap(take, 2, 2)(image)
