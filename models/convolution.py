"""Two-dimensional convolution that is quick to train on a CPU too.

XLA's own convolutions are slow on a CPU in three ways that were measured on ResNet-34:

- The kernel's gradient is a convolution whose window is the whole image: 229 ms for one 3x3 layer
  of 64 channels (batch 32, 32 x 32 px), where one matrix product takes 71 ms.
- On small images even the forward pass stumbles: 262 ms for 256 channels on 2 x 2 px (batch 64),
  where one matrix product takes 3 ms.
- Inside `lax.scan` or `lax.cond` both gradients fall to a naive loop, some 27 times slower,
  because their dimension numbers are not NHWC and HWIO.

The `fast` form says the same in matrix products and plain NHWC convolutions; three by three kernels
at stride 1 have a form of their own with fewer multiplications (`models.winograd`). On an
accelerator XLA's own form is the better one. A GPU keeps kernels as [outputs, size, size, inputs].
In a program of several steps XLA keeps the parameters so too, and nothing is turned; in one of a
single step, whose arguments have the order of their axes, each kernel is turned and copied.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from . import winograd

FORMS = ("auto", "native", "fast")
# Up to so many pixels one matrix product takes at most half of the convolutions' time on a CPU;
# from 5 x 5 on it takes twice as long.
SMALL_IMAGE = 4 * 4


def check_form(form: str) -> None:
    """Require one of `FORMS`.

    Raises:
        ValueError: if `form` is not one of them.
    """
    if form not in FORMS:
        raise ValueError(
            f"convolution: `form` is one of {', '.join(FORMS)}; got {form!r}. Choose one."
        )


def convolution(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0, form: str = "auto"
) -> jax.Array:
    """Slide `kernel` over zero-padded images.

        y[n, r, c, o] = sum_{i, j, k} x[n, r stride + i - padding, c stride + j - padding, k]
                                      kernel[i, j, k, o]

    Shapes: `x` [batch, height, width, inputs] and `kernel` [size, size, inputs, outputs] of one
    dtype, to [batch, rows, columns, outputs], rows = (height + 2 padding - size) // stride + 1.

    `form` is "native" (XLA's own), "fast" (for a CPU) or "auto": by the platform that the program
    is lowered for, which need not be the one that it is traced on. Values and gradients agree to
    rounding. Only "native" has a forward-mode derivative: take it for `jax.jvp` and `jax.hessian`.

    Raises:
        ValueError: if `form` is unknown, or the kernel is not square.
    """
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(
            f"convolution: `kernel` must be square; got shape {kernel.shape}. Pad it with zeros."
        )
    check_form(form)
    forms = {"native": _native, "fast": _for_cpu, "auto": _by_platform}
    return forms[form](x, kernel, stride, padding)


def _for_cpu(x, kernel, stride, padding):
    # In lower precision the sums of a tile would lose digits.
    if (kernel.shape[0], stride, padding) == (3, 1, 1) and x.dtype.itemsize >= 4:
        return winograd.convolve(x, kernel)
    if x.shape[1] * x.shape[2] <= SMALL_IMAGE:
        return one_product(x, kernel, stride=stride, padding=padding)
    return _fast(x, kernel, stride, padding)


def _native(x, kernel, stride, padding):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


# Traced once for all layers of one size, and written into the program where they stand.
_once = partial(jax.jit, static_argnames=("stride", "padding"), inline=True)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_platform(x, kernel, stride, padding):
    return _values(x, kernel, stride=stride, padding=padding)


def _by_platform_forward(x, kernel, stride, padding):
    return _by_platform(x, kernel, stride, padding), (x, kernel)


def _by_platform_backward(stride, padding, residuals, dy):
    return _gradients(*residuals, dy, stride=stride, padding=padding)


_by_platform.defvjp(_by_platform_forward, _by_platform_backward)


@_once
def _values(x, kernel, *, stride, padding):
    sizes = {"stride": stride, "padding": padding}
    cpu, others = (partial(form, **sizes) for form in (_for_cpu, _native))
    return lax.platform_dependent(x, kernel, cpu=cpu, default=others)


@_once
def _gradients(x, kernel, dy, *, stride, padding):
    def of(form, x, kernel, dy):
        return jax.vjp(partial(form, stride=stride, padding=padding), x, kernel)[1](dy)

    cpu, others = (partial(of, form) for form in (_for_cpu, _native))
    return lax.platform_dependent(x, kernel, dy, cpu=cpu, default=others)


def one_product(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    """Convolve by one matrix product, which makes either gradient one product as well.

        X[(n, r, c), (j, k)] = x[n, r, c stride + j - padding, k]     x, shifted by columns
        P[n, r, c, i, o] = (X kernel[(j, k), (i, o)])[(n, r, c), (i, o)]
        y[n, r, c, o] = sum_i P[n, r stride + i - padding, c, i, o]   P, shifted by rows

    Sharing the shifts between the two sides copies each only `size` times; unrolling all of
    them on one side would copy it `size`^2 times.
    Shapes: as in `convolution`.
    """
    size, _, inputs, outputs = kernel.shape
    rows, columns = ((n + 2 * padding - size) // stride + 1 for n in x.shape[1:3])
    shifted = _columns(_pad(x, columns=(padding, padding)), size, columns, stride)
    matrix = kernel.transpose(1, 2, 0, 3).reshape(size * inputs, size * outputs)
    product = _pad(jnp.dot(shifted, matrix), rows=(padding, padding))
    last = (rows - 1) * stride + 1
    y = product[:, :last:stride, :, :outputs]
    for i in range(1, size):
        y = y + product[:, i : i + last : stride, :, i * outputs : (i + 1) * outputs]
    return y


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _fast(x, kernel, stride, padding):
    return _native(x, kernel, stride, padding)


def _fast_forward(x, kernel, stride, padding):
    return _native(x, kernel, stride, padding), (x, kernel)


def _fast_backward(stride, padding, residuals, dy):
    x, kernel = residuals
    # An input gradient that nobody asks for, as the stem's, is removed as dead code.
    dx = input_gradient(dy, kernel, image=x.shape[1:3], stride=stride, padding=padding)
    size = kernel.shape[0]
    if stride == 1:
        dw = kernel_gradient_in_one(x, dy, size=size, padding=padding)
    else:
        dw = kernel_gradient_by_rows(x, dy, size=size, stride=stride, padding=padding)
    return dx, dw.astype(kernel.dtype)


_fast.defvjp(_fast_forward, _fast_backward)


def input_gradient(
    dy: jax.Array, kernel: jax.Array, *, image: tuple[int, int], stride: int, padding: int
) -> jax.Array:
    """Gradient by `x`: `dy`, spread out by `stride`, under the kernel turned half a circle.

    Written with dimension numbers NHWC and HWIO, so that it is fast inside loops as well.
    Shapes: `dy` [batch, rows, columns, outputs] to [batch, *image, inputs].
    """
    before = kernel.shape[0] - 1 - padding
    # What is left of the full correlation after `before` and the spread gradient.
    after = [
        full - (n - 1) * stride + padding - 1 for full, n in zip(image, dy.shape[1:3], strict=True)
    ]
    return lax.conv_general_dilated(
        dy,
        kernel[::-1, ::-1].swapaxes(2, 3),
        window_strides=(1, 1),
        padding=[(before, a) for a in after],
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def kernel_gradient_in_one(x: jax.Array, dy: jax.Array, *, size: int, padding: int) -> jax.Array:
    """Gradient by the kernel at stride 1, as one matrix product.

        X[(n, r, c), (j, k)] = x[n, r, c + j - padding, k]          x, shifted by columns
        D[(n, r, c), (i, o)] = dy[n, r + padding - i, c, o]         dy, shifted by rows
        dw[i, j, k, o] = (X^T D)[(j, k), (i, o)]

    Shapes: as in `convolution`; the result is float32[size, size, inputs, outputs].
    """
    height = x.shape[1]
    inputs, outputs = x.shape[-1], dy.shape[-1]
    x, dy = _pad(x, columns=(padding, padding)), _pad(dy, rows=(size - 1, size - 1))
    columns = _columns(x, size, dy.shape[2], 1)
    first = [size - 1 + padding - i for i in range(size)]
    rows = jnp.concatenate([dy[:, r : r + height] for r in first], axis=-1)
    product = _contract(columns, rows).reshape(size, inputs, size, outputs)
    return product.transpose(2, 0, 1, 3)


def kernel_gradient_by_rows(
    x: jax.Array, dy: jax.Array, *, size: int, stride: int, padding: int
) -> jax.Array:
    """Gradient by the kernel at any stride, as one matrix product for each of its rows.

        X[(n, r, c), (j, k)] = x[n, r, c stride + j - padding, k]
        dw[i] = X[rows i - padding, i - padding + stride, ...]^T dy

    Shapes: as in `convolution`; the result is float32[size, size, inputs, outputs].
    """
    _, rows, columns, outputs = dy.shape
    x = _pad(x, rows=(padding, padding), columns=(padding, padding))
    shifted = _columns(x, size, columns, stride)
    last = (rows - 1) * stride + 1
    products = [_contract(shifted[:, i : i + last : stride], dy) for i in range(size)]
    return jnp.stack(products).reshape(size, size, x.shape[-1], outputs)


def _pad(x, rows=(0, 0), columns=(0, 0)):
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))


def _columns(x, size, columns, stride):
    """The `size` column shifts of `x`, side by side as channels (shift first)."""
    last = (columns - 1) * stride + 1
    return jnp.concatenate([x[:, :, j : j + last : stride] for j in range(size)], axis=-1)


def _contract(a, b):
    """Sum over all axes but the last: float32[channels of a, channels of b]."""
    axes = tuple(range(a.ndim - 1))
    return lax.dot_general(a, b, ((axes, axes), ((), ())), preferred_element_type=jnp.float32)


class Conv(nn.Module):
    """A convolution without bias, padded by size // 2 on every side.

    The parameter `kernel` is [size, size, inputs, features], the layout of `flax.linen.Conv`,
    whatever `form` is. It starts normal with variance 2 / (features size^2), which keeps the
    size of gradients through relu layers.

    Shapes: `x` [batch, height, width, inputs] to [batch, ceil(height / stride),
    ceil(width / stride), features] for odd `size`, in `dtype`. `form` is that of `convolution`.

    Source: He et al. (2015), "Delving Deep into Rectifiers", section 2.2.
    """

    features: int
    size: int
    stride: int = 1
    form: str = "auto"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve `x`."""
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", init, shape, self.param_dtype)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        padding = self.size // 2
        return convolution(x, kernel, stride=self.stride, padding=padding, form=self.form)
