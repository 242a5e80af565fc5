"""The smallest image classifier: dense layers on the flattened pixels."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class MLP(nn.Module):
    """Dense layers with relu between them.

        h = x, flattened;    h = relu(h kernel + bias) for each of `features`
        logits = h kernel + bias

    Shapes: `x` float[batch, ...] to [batch, num_classes], in `dtype`; parameters have
    `param_dtype`. Kernels start with variance 1 / inputs, biases at 0.

    >>> model = MLP(num_classes=3)
    >>> x = jnp.zeros((2, 28, 28, 1))
    >>> variables = model.init(jax.random.key(0), x, train=False)
    >>> model.apply(variables, x, train=False).shape
    (2, 3)
    """

    num_classes: int
    features: tuple[int, ...] = (128,)
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return the logits of `x`; `train` changes nothing in this model."""
        del train
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        h = x.reshape(x.shape[0], -1)  # `len` needs a number, which an export leaves open
        for i, width in enumerate(self.features):
            h = nn.relu(nn.Dense(width, name=f"dense{i + 1}", **types)(h))
        return nn.Dense(self.num_classes, name="head", **types)(h)
