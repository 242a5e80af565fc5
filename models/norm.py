"""Batch normalization with PyTorch's running statistics, computed in float32."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.custom_derivatives import SymbolicZero

from .convolution import check_form


class BatchNorm(nn.Module):
    """Normalize every channel over all other axes, then scale and shift it.

        training:    y = (x - mean(x)) / sqrt(var(x) + eps) scale + bias
        evaluation:  y = (x - mean) / sqrt(var + eps) scale + bias
        mean' = momentum mean + (1 - momentum) mean(x)
        var'  = momentum var  + (1 - momentum) var(x) n / (n - 1)      n = x.size / channels

    `var(x)` is the biased variance, the running one is unbiased, as in PyTorch; Flax's own layer
    keeps the biased one, which differs by a third where a channel has four values.

    Shapes and dtypes: `x` and `y` [..., channels]; `y` has `dtype`. The parameters `scale` and
    `bias` and the `batch_stats` `mean` and `var` are [channels]. Statistics and normalization are
    computed in float32 whatever `dtype` is.

    `form` is how the gradient in training is computed: "native" by JAX's own rules, "fast" by a
    rule of its own, which takes less time but has no forward mode (for Hessian-vector products
    differentiate the gradient backwards), or "auto", which is "fast". Both give the same.

    Raises:
        ValueError: if `form` is unknown.
        ValueError: in training, if a channel has only one value: it has no variance.
    Source: Ioffe and Szegedy (2015), algorithm 1.
    """

    momentum: float = 0.9
    eps: float = 1e-5
    bias_init: float = 0.0
    form: str = "auto"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return the normalized `x`; in training also update `batch_stats`."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels, self.param_dtype)
        bias_init = nn.initializers.constant(self.bias_init)
        bias = self.param("bias", bias_init, channels, self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)

        affine = scale.astype(jnp.float32), bias.astype(jnp.float32)
        if train and not self.is_initializing():
            n = _count(x)
            check_form(self.form)
            normalize = _by_moments if self.form == "native" else _normalize_batch
            y, mean, var = normalize(x, *affine, self.eps)  # pyright: ignore[reportGeneralTypeIssues]
            keep = self.momentum
            running_mean.value = keep * running_mean.value + (1 - keep) * mean
            running_var.value = keep * running_var.value + (1 - keep) * var * (n / (n - 1))
        else:
            y = _normalize(x, running_mean.value, running_var.value, *affine, self.eps)
        return y.astype(self.dtype)


def _count(x):
    """The number of values of each channel."""
    n = x.size // x.shape[-1]
    if n < 2:
        raise ValueError(
            f"BatchNorm: training needs more than one value per channel; got x of shape {x.shape}."
            " Use a larger batch or larger images, or train=False."
        )
    return n


def _row(values, x):
    """Channels, with the rank of `x`."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def _sum(x):
    return jnp.sum(x, tuple(range(x.ndim - 1)))


def _centered(x, mean):
    return x.astype(jnp.float32) - _row(mean, x)


def _normalize(x, mean, var, scale, bias, eps):
    factor = scale * jax.lax.rsqrt(var + eps)
    return _centered(x, mean) * _row(factor, x) + _row(bias, x)


def _by_moments(x, scale, bias, eps):
    """Normalize `x` by its own statistics; return them too, float32[channels]."""
    n = x.size // x.shape[-1]
    mean = _sum(x.astype(jnp.float32)) / n
    var = _sum(jnp.square(_centered(x, mean))) / n
    return _normalize(x, mean, var, scale, bias, eps), mean, var


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize_batch(x, scale, bias, eps):
    """The same, with the gradient written out.

        z = (x - mean) / sqrt(var + eps)        dbias = sum(dy)        dscale = sum(dy z)
        dx = scale / sqrt(var + eps) (dy - dbias / n - z dscale / n)
             + dmean / n + 2 (x - mean) dvar / n

    It needs `x` and `dy` alone; what autodiff makes of the two moments took 10 to 40 % more CPU
    time, forward and backward together. The last two terms are there only if something that is
    differentiated depends on the statistics, as a later evaluation does.
    """
    return _by_moments(x, scale, bias, eps)


def _forward(x, scale, bias, eps):
    x, scale, bias = (primal.value for primal in (x, scale, bias))
    y, mean, var = _normalize_batch(x, scale, bias, eps)  # pyright: ignore[reportGeneralTypeIssues]
    return (y, mean, var), (x, scale, mean, var)


def _backward(eps, residuals, gradients):
    x, scale, mean, var = residuals
    dy, dmean, dvar = gradients
    absent = lambda gradient: isinstance(gradient, SymbolicZero)
    n = x.size // x.shape[-1]
    dx, dscale, dbias = jnp.zeros(x.shape, jnp.float32), *jnp.zeros_like(jnp.stack([scale, scale]))
    if not absent(dy):
        inverse = jax.lax.rsqrt(var + eps)
        dbias = _sum(dy)
        dscale = _sum(dy * _centered(x, mean)) * inverse
        slope = _row(inverse * dscale / n, x)
        dx = _row(scale * inverse, x) * (dy - _row(dbias / n, x) - _centered(x, mean) * slope)
    if not absent(dmean):
        dx = dx + _row(dmean / n, x)
    if not absent(dvar):
        dx = dx + _centered(x, mean) * _row(2 * dvar / n, x)
    return dx.astype(x.dtype), dscale, dbias


_normalize_batch.defvjp(_forward, _backward, symbolic_zeros=True)
