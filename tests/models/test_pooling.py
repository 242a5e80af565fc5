"""Maxima over whole images: values, and whose the gradient is."""

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.models.pooling import max_over_image


def test_the_first_of_the_largest_values_takes_the_gradient():
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype(np.float32).clip(0)
    x[0, ..., 0] = 0  # a whole feature map of equal values
    weight = jnp.arange(1.0, 16.0).reshape(3, 5)
    total = lambda x: jnp.sum(weight * max_over_image(x))
    np.testing.assert_array_equal(max_over_image(jnp.asarray(x)), x.max(axis=(1, 2)))
    want = np.zeros((3, 8, 5), np.float32)
    first = x.reshape(3, 8, 5).argmax(axis=1)
    for n, k in np.ndindex(3, 5):
        want[n, first[n, k], k] = weight[n, k]
    np.testing.assert_array_equal(jax.jit(jax.grad(total))(x), want.reshape(x.shape))


def test_a_nan_wins():
    x = jnp.ones((1, 2, 2, 2)).at[0, 1, 0, 0].set(jnp.nan)
    np.testing.assert_array_equal(max_over_image(x), [[np.nan, 1]])
