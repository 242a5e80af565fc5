"""Max pooling: over windows and over whole images, with gradients that are no scatter."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from .convolution import check_form


def max_pool(x: jax.Array, *, size: int = 3, stride: int = 2, form: str = "auto") -> jax.Array:
    """Take the maximum of every window of an image padded by size // 2 with -inf.

        y[n, r, c, k] = max_{i, j} x[n, r stride + i, c stride + j, k]     |i|, |j| <= size // 2

    The gradient goes whole to the largest value, and to the first of equal ones, counted row by
    row: PyTorch's rule and XLA's. A NaN wins its window.

    Shapes: `x` [batch, height, width, channels] to [batch, ceil(height / stride),
    ceil(width / stride), channels] for odd `size`, of the same dtype.

    `form` is "native" (one reduce-window), "fast" (shifted slices, compared one after another) or
    "auto", which is "fast" on every platform. Both give the same values and gradients; only
    "native" has a forward-mode derivative. XLA's gradient carries index arrays through the windows
    on a CPU (279 ms for 32 images of 64 x 64 x 64, against 77) and is a scatter on a GPU; that of
    the slices remembers each window's winner in a byte and is one loop over `x`.

    Raises:
        ValueError: if `form` is unknown.
    """
    check_form(form)
    padding = size // 2
    if form == "native":
        around: Any = ((padding, padding),) * 2  # Flax's type has only names of paddings
        return nn.max_pool(x, (size, size), (stride, stride), around)
    return _max_pool(x, size, stride)


def _windows(x, size, stride):
    """What stands in each place of the windows: size^2 arrays, row by row."""
    padding = size // 2
    _, height, width, _ = x.shape
    edges = (padding, padding, 0)
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), edges, edges, (0, 0, 0)))
    rows = (height + 2 * padding - size) // stride * stride + 1
    columns = (width + 2 * padding - size) // stride * stride + 1
    places = [(i, j) for i in range(size) for j in range(size)]
    return [x[:, i : i + rows : stride, j : j + columns : stride] for i, j in places]


def _winners(x, size, stride):
    """The largest value of each window, and the place where it stands."""
    largest, *others = _windows(x, size, stride)
    winner = jnp.zeros(largest.shape, jnp.uint8 if size < 16 else jnp.int32)
    for place, candidate in enumerate(others, 1):
        better = (candidate > largest) | jnp.isnan(candidate)
        largest = jnp.where(better, candidate, largest)
        winner = jnp.where(better, jnp.array(place, winner.dtype), winner)
    return largest, winner


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x, size, stride):
    return _winners(x, size, stride)[0]


def _forward(x, size, stride):
    largest, winner = _winners(x, size, stride)
    return largest, (winner, x)


def _backward(size, stride, residuals, dy):
    winner, x = residuals  # of `x` the shape alone, so that it need not be kept
    mine = [jnp.where(winner == place, dy, jnp.zeros_like(dy)) for place in range(size**2)]
    return jax.linear_transpose(partial(_windows, size=size, stride=stride), x)(mine)


_max_pool.defvjp(_forward, _backward)


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
    # Not take_along_axis: its gradient is a scatter.
    chosen = jnp.arange(height * width)[None, :, None] == first
    return jnp.sum(jnp.where(chosen, pixels, jnp.zeros_like(pixels)), axis=1)
