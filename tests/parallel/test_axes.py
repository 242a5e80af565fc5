"""Meshes as JAX makes them, with Explicit axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradtx.loop import compiled_fit, fit
from gradtx.parallel.axes import automatic, on_automatic
from tests.loop import small

MESH = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
SPLIT = NamedSharding(MESH, PartitionSpec("data"))


def test_what_is_on_no_such_mesh_stays_the_same_object():
    tree = {"x": jnp.zeros(4), "y": np.zeros(4), "n": 1, "key": jax.random.key(0)}
    assert on_automatic(tree) is tree
    moved = on_automatic({**tree, "split": jax.device_put(np.arange(4.0, dtype=np.float32), SPLIT)})
    assert moved["split"].sharding == NamedSharding(automatic(MESH), SPLIT.spec)
    assert moved["x"] is tree["x"]
    np.testing.assert_array_equal(moved["split"], np.arange(4.0))


def test_a_fit_of_batches_on_such_a_mesh_is_that_of_the_same_batches():
    assert AxisType.Explicit in MESH.axis_types
    loop = small.make(metrics={})
    state, batches = small.start(loop), small.batches(1)(0, 0)[:2]
    want = fit(loop, state, batches, epochs=1)[0].params
    state = jax.device_put(state, NamedSharding(MESH, PartitionSpec()))
    split = [jax.device_put(batch, SPLIT) for batch in batches]
    got = fit(loop, state, split, epochs=1)[0].params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)


def test_a_traced_fit_says_which_mesh_to_make():
    loop = small.make()
    run = lambda data: compiled_fit(loop, small.start(loop), data, small.orders(1))
    with pytest.raises(ValueError, match="must have axes of the type Auto; got Explicit ones"):
        jax.jit(run)(jax.device_put(small.DATA, SPLIT))
