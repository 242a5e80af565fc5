"""Boxes in an image, as (top, left, height, width) in pixels: random ones, and the middle."""

from typing import Any

import jax
import jax.numpy as jnp

ATTEMPTS = 10  # at a random box that fits into the image


def random_box(
    key: jax.Array, height: Any, width: Any, *, scale: tuple[Any, Any], ratio: tuple[Any, Any]
) -> jax.Array:
    """A random box in a `height` x `width` image: float32[4], (top, left, height, width).

        w = sqrt(a r)    h = sqrt(a / r)    a ~ U(scale) width height    log r ~ U(log ratio)

    The first of ten draws of (a, r) that fits is placed uniformly. If none fits, the box is the
    largest one of a permitted ratio, in the middle.

    Args:
        key: of the random numbers, a typed key.
        height: of the image, positive, in pixels.
        width: of the image.
        scale: (low, high) of the share of the area.
        ratio: (low, high) of width over height.
    """
    height, width = jnp.asarray(height, jnp.float32), jnp.asarray(width, jnp.float32)
    low, high = (jnp.asarray(r, jnp.float32) for r in ratio)
    of_area, of_ratio, of_place = jax.random.split(key, 3)
    shape = (ATTEMPTS,)
    share = _uniform(of_area, shape, *(jnp.asarray(s, jnp.float32) for s in scale))
    area = height * width * share
    r = jnp.exp(_uniform(of_ratio, shape, jnp.log(low), jnp.log(high)))
    w, h = jnp.sqrt(area * r), jnp.sqrt(area / r)
    # By rounding alone the whole image could be a little too large.
    fits = (w <= width * (1 + 1e-6)) & (h <= height * (1 + 1e-6))
    i = jnp.argmax(fits)
    w = jnp.where(fits[i], jnp.minimum(w[i], width), jnp.minimum(width, height * high))
    h = jnp.where(fits[i], jnp.minimum(h[i], height), jnp.minimum(height, width / low))
    y, x = jnp.where(fits[i], jax.random.uniform(of_place, (2,), jnp.float32), 0.5)
    return jnp.stack([y * (height - h), x * (width - w), h, w])


def _uniform(key: jax.Array, shape: tuple[int, ...], low: jax.Array, high: jax.Array) -> jax.Array:
    # By hand, so that a derivative with respect to the bounds goes through.
    return low + (high - low) * jax.random.uniform(key, shape, jnp.float32)


def middle_box(height: Any, width: Any) -> jax.Array:
    """The largest square in the middle of an image: float32[4], (top, left, height, width).

        side = min(height, width)        top = (height - side) / 2        left alike

    Args:
        height: of the image, positive, in pixels.
        width: of the image.
    """
    height, width = jnp.asarray(height, jnp.float32), jnp.asarray(width, jnp.float32)
    side = jnp.minimum(height, width)
    return jnp.stack([(height - side) / 2, (width - side) / 2, side, side])


def whole_box(height: Any, width: Any) -> jax.Array:
    """All of an image: float32[4], (top, left, height, width) = (0, 0, height, width).

    Args:
        height: of the image, positive, in pixels.
        width: of the image.
    """
    return jnp.stack([jnp.asarray(x, jnp.float32) for x in (0, 0, height, width)])


def inside(box: jax.Array, height: int, width: int) -> jax.Array:
    """The pixels whose centers are in a box: bool[height, width].

    Args:
        box: float32[4], (top, left, height, width).
        height: of the image.
        width: of the image.
    """
    top, left, h, w = box
    y, x = jnp.arange(height, dtype=jnp.float32) + 0.5, jnp.arange(width, dtype=jnp.float32) + 0.5
    rows, columns = (y > top) & (y < top + h), (x > left) & (x < left + w)
    return rows[:, None] & columns[None, :]
