"""The norm of a whole tree, against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.core.tree import SHORT, global_norm, shrink

RNG = np.random.default_rng(0)
LEAVES = {
    "scalar": jnp.float32(3.0),
    "empty": jnp.zeros((0, 2)),
    "short": jnp.asarray(RNG.normal(size=(8, 16)), jnp.float32),
    "just short": jnp.asarray(RNG.normal(size=SHORT), jnp.float32),
    "long": jnp.asarray(RNG.normal(size=(SHORT + 1, 2)), jnp.float32),
    "half": jnp.asarray(RNG.normal(size=(3, 5)), jnp.bfloat16),
    "complex": jnp.asarray(RNG.normal(size=7) + 1j * RNG.normal(size=7), jnp.complex64),
}


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("names", [*[(name,) for name in LEAVES], tuple(LEAVES)], ids=str)
def test_the_norm_of_short_and_long_leaves_of_any_dtype(names, transform):
    tree = {name: LEAVES[name] for name in names}
    got = transform(global_norm)(tree)
    exact = [np.asarray(x).astype(np.complex128) for x in tree.values()]
    want = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in exact))
    assert got.dtype == jnp.float32 and got.shape == ()
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_norm_of_nothing_is_zero():
    assert global_norm({}) == 0


@pytest.mark.parametrize(
    "size, most, factor", [(2.0, 4.0, 1.0), (8.0, 4.0, 0.5), (4.0, 4.0, 1.0), (0.0, 0.0, 1.0),
                           (8.0, 0.0, 0.0), (8.0, np.inf, 1.0), (np.inf, 4.0, np.nan),
                           (np.nan, 4.0, np.nan)],
)  # fmt: skip
def test_shrink(size, most, factor):
    got = shrink({"w": jnp.float32(3.0)}, jnp.float32(size), most)["w"]
    np.testing.assert_array_equal(got, np.float32(3 * factor))
