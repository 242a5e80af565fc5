"""Max pooling: over windows, quick to train on a CPU too, and over whole images."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from .convolution import use_fast


def max_pool(x: jax.Array, *, size: int = 3, stride: int = 2, form: str = "auto") -> jax.Array:
    """Take the maximum of every window of an image padded by size // 2 with -inf.

        y[n, r, c, k] = max_{i, j} x[n, r stride + i, c stride + j, k]     |i|, |j| <= size // 2

    The gradient goes whole to the largest value, and to the first of equal ones, counted row by
    row: PyTorch's rule and XLA's. A NaN wins its window.

    Shapes: `x` [batch, height, width, channels] to [batch, ceil(height / stride),
    ceil(width / stride), channels] for odd `size`, of the same dtype.

    `form` is "native" (one reduce-window), "fast" (shifted slices, compared one after another) or
    "auto" (by platform). Both give the same values and gradients. XLA's gradient finds its
    winners by carrying index arrays through the windows: 279 ms on a CPU for 32 images of
    64 x 64 x 64, against 77 ms for the slices.

    Raises:
        ValueError: if `form` is unknown.
    """
    padding = size // 2
    if not use_fast(form):
        around: Any = ((padding, padding),) * 2  # Flax's type has only names of paddings
        return nn.max_pool(x, (size, size), (stride, stride), around)
    _, height, width, _ = x.shape
    edges = (padding, padding, 0)
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), edges, edges, (0, 0, 0)))
    rows = (height + 2 * padding - size) // stride * stride + 1
    columns = (width + 2 * padding - size) // stride * stride + 1
    largest = x[:, :rows:stride, :columns:stride]
    for i, j in [(i, j) for i in range(size) for j in range(size)][1:]:
        candidate = x[:, i : i + rows : stride, j : j + columns : stride]
        # Not jnp.maximum: it would share the gradient between equal values.
        better = (candidate > largest) | jnp.isnan(candidate)
        largest = jnp.where(better, candidate, largest)
    return largest


def max_over_image(x: jax.Array) -> jax.Array:
    """Take the maximum of every feature map.

        y[n, k] = max_{r, c} x[n, r, c, k]

    The gradient goes whole to the first largest value, counted row by row, PyTorch's rule. That of
    `jnp.max` is shared by all values that equal the result; where XLA computes `x` once more for
    the backward pass, and rounds it otherwise, none does and the gradient is 0 / 0.

    Shapes: `x` [batch, height, width, channels] to [batch, channels], of the same dtype.
    """
    batch, height, width, channels = x.shape
    pixels = x.reshape(batch, height * width, channels)
    first = jnp.argmax(pixels, axis=1, keepdims=True)
    return jnp.take_along_axis(pixels, first, axis=1)[:, 0]
