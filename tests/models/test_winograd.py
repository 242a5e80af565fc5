"""Both sizes of tiles against the plain sums in float64, in values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.models.winograd import MAPS, POINTS, convolve, maps, tile_size
from tests.models.test_convolution import assert_close, reference


@pytest.mark.parametrize("m", POINTS)
def test_the_maps_of_an_axis_convolve(m):
    rng = np.random.default_rng(0)
    d, g = rng.normal(size=m + 2), rng.normal(size=3)
    output, kernel, inputs = MAPS[m]
    want = [d[i : i + 3] @ g for i in range(m)]
    np.testing.assert_allclose(output @ ((kernel @ g) * (inputs @ d)), want, rtol=1e-12)


def test_the_usual_points_give_the_papers_map():
    """Lavin and Gray (2016), F(4 x 4, 3 x 3): the input's map, up to the signs of rows."""
    got = maps((0.0, 1.0, -1.0, 2.0, -2.0)).input
    want = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip
    np.testing.assert_array_equal(got, want)


# Batches for which each size of tiles is chosen; sides that tiles divide and that they do not.
CASES = [(2, 2, 8, 8), (2, 2, 5, 7), (4, 8, 16, 16), (4, 24, 7, 9), (4, 16, 14, 13)]


@pytest.mark.parametrize(("m", "batch", "height", "width"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_are_the_plain_ones_to_a_few_roundings(m, batch, height, width, dtype):
    assert tile_size(batch, height, width) == m
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, height, width, 32)).astype(dtype)
    kernel = (rng.standard_normal((3, 3, 32, 8)) / 17).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        y, pull = jax.vjp(jax.jit(convolve), x, kernel)
        got = y, *pull(y)
    assert {a.dtype for a in got} == {np.dtype(dtype)}
    want = reference(x, kernel, stride=1, padding=1)
    assert_close(got, want, tolerance=5e-6 if dtype == np.float32 else 1e-13)


def test_a_population_has_the_same_values():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, 8, 16, 16, 4)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 4, 4)), jnp.float32)
    got = jax.jit(jax.vmap(convolve))(x, kernel)
    want = [jax.jit(convolve)(*pair) for pair in zip(x, kernel, strict=True)]
    assert_close(got, want, tolerance=3e-6)
