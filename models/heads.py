"""The ends of an image classifier: from feature maps to logits."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from .norm import BatchNorm
from .pooling import max_over_image


class PlainHead(nn.Module):
    """Average each feature map, then one linear layer.

        logits = mean(x over height and width) kernel + bias

    `kernel` and `bias` start uniform in +-1 / sqrt(features), PyTorch's default.
    Shapes: `x` [batch, height, width, features] to [batch, num_classes], in `dtype`. `form` changes
    nothing in this head.
    """

    num_classes: int
    form: str = "auto"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return the logits; `train` changes nothing in this head."""
        del train
        x = jnp.mean(x, axis=(1, 2))
        bound = x.shape[-1] ** -0.5
        uniform = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
        return nn.Dense(
            self.num_classes,
            kernel_init=uniform,
            bias_init=uniform,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="dense",
        )(x)


class ConcatHead(nn.Module):
    """The two-layer head of the reference: maximum and mean of each feature map, side by side.

        z = dropout(norm([max(x), mean(x)]), 0.25)
        logits = dropout(norm(relu(z kernel1)), 0.5) kernel2

    Both norms start with bias 1e-3, and the kernels with variance 2 / inputs.
    Shapes: `x` [batch, height, width, features] to [batch, num_classes], in `dtype`. Training
    draws from the `dropout` stream of random numbers. `form` is that of the norms.

    Source: fastai's image head, see README.
    """

    num_classes: int
    hidden: int = 512
    form: str = "auto"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return the logits; `train` switches dropout on and selects the norms' statistics."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        dense = partial(nn.Dense, use_bias=False, kernel_init=init, **types)
        norm = partial(BatchNorm, bias_init=1e-3, form=self.form, **types)
        dropout = partial(nn.Dropout, deterministic=not train)

        x = jnp.concatenate([max_over_image(x), jnp.mean(x, axis=(1, 2))], axis=-1)
        x = dropout(0.25)(norm(name="norm1")(x, train=train))
        x = nn.relu(dense(self.hidden, name="dense1")(x))
        x = dropout(0.5)(norm(name="norm2")(x, train=train))
        return dense(self.num_classes, name="dense2")(x)
