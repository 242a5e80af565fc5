"""A box of an image at another size, by two small matrices, as Pillow's antialiased bilinear."""

from typing import Any

import jax
import jax.numpy as jnp

EXACT = jax.lax.Precision.HIGHEST  # a GPU would round to ten bits otherwise


def weights(start: Any, stop: Any, *, size: int, length: int, valid: Any) -> jax.Array:
    """The matrix float32[size, length] whose rows average pixels of a line into each of `size`.

        W[i, j] ~ max(0, 1 - |j + 1/2 - c_i| / s)        for j < valid, else 0
        c_i = start + (i + 1/2) (stop - start) / size        s = max(1, (stop - start) / size)

    with rows scaled to sum to one: the triangle filter of Pillow's `resize(box=...)`.

    Args:
        start: where the box begins on the line, in pixels.
        stop: where it ends.
        size: the pixels to make.
        length: the pixels of the line.
        valid: how many of them are the image's; the others count nothing.
    """
    start, stop = jnp.asarray(start, jnp.float32), jnp.asarray(stop, jnp.float32)
    step = (stop - start) / size
    center = start + (jnp.arange(size, dtype=jnp.float32) + 0.5) * step
    pixel = jnp.arange(length, dtype=jnp.float32) + 0.5
    near = 1 - jnp.abs(pixel[None, :] - center[:, None]) / jnp.maximum(step, 1)
    weight = jnp.where((pixel < jnp.asarray(valid, jnp.float32))[None, :], jnp.maximum(near, 0), 0)
    return weight / jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-12)


def resample(image: jax.Array, box: jax.Array, *, size: int) -> jax.Array:
    """A box of an image, at `size` pixels a side: float32[size, size, C].

        out = W(top, top + height) image W(left, left + width)^T

    Args:
        image: [H, W, C], of any dtype.
        box: float32[4], (top, left, height, width) in its pixels.
        size: the side to make.
    """
    height, width, _ = image.shape
    top, left, h, w = box
    rows = weights(top, top + h, size=size, length=height, valid=height)
    columns = weights(left, left + w, size=size, length=width, valid=width)
    return _both(rows, image, columns)


def resample_canvas(
    canvas: jax.Array, extent: jax.Array, box: jax.Array, *, size: int
) -> jax.Array:
    """A box of the photo on a canvas, upright, at `size` pixels a side: float32[size, size, C].

        short, long = sorted(extent)        photo on the canvas: min(short, c) x min(long, W)
        out = R canvas S^T, transposed where height > width        R, S as in `weights`

    A photo lies on its canvas with its long side along the second axis, so a portrait is
    transposed, and each axis is reduced by itself if it is too long. The canvas outside the photo
    has weight 0.

    Args:
        canvas: [c, W, C], of any dtype.
        extent: int32[2], the photo's height and width.
        box: float32[4], (top, left, height, width) in the photo's own pixels.
        size: the side to make.
    """
    c, length, _ = canvas.shape
    turned = extent[0] > extent[1]
    box = jnp.where(turned, box[jnp.array([1, 0, 3, 2])], box)
    short, long = jnp.min(extent), jnp.max(extent)

    def along(start: jax.Array, width: jax.Array, pixels: jax.Array, most: int) -> jax.Array:
        valid = jnp.minimum(pixels, most)
        scale = valid.astype(jnp.float32) / jnp.maximum(pixels, 1).astype(jnp.float32)
        stop = (start + width) * scale
        return weights(start * scale, stop, size=size, length=most, valid=valid)

    out = _both(along(box[0], box[2], short, c), canvas, along(box[1], box[3], long, length))
    return jnp.where(turned, out.swapaxes(0, 1), out)


def _both(rows: jax.Array, image: jax.Array, columns: jax.Array) -> jax.Array:
    """Both axes; the longer one first, which is the fewer products."""
    image = image.astype(jnp.float32)
    out = jnp.einsum("jk,ikc->ijc", columns, image, precision=EXACT)
    return jnp.einsum("hi,ijc->hjc", rows, out, precision=EXACT)
