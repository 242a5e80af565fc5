"""What an update looks like in a program for a GPU, and that it is the same one elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, PartitionSpec

import gradtx

PARAMS = {"w": jnp.arange(6.0).reshape(3, 2), "b": jnp.ones(2)}
GROUPS = gradtx.label_by(bias="b", rest="*")
OPTIMIZERS = {
    "adamw": gradtx.adamw(0.1),
    "schedule": gradtx.sgd(lambda count: 0.1 / (1 + count), momentum=0.9),
    "groups": gradtx.adamw(gradtx.by_group(GROUPS, bias=0.1, rest=0.2)),
    "inside": gradtx.accumulate(gradtx.adam(0.1), 2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_a_program_for_a_gpu_reads_hyperparameters_from_one_array(name):
    tx = OPTIMIZERS[name]
    state = tx.init(PARAMS)
    update = jax.jit(lambda state: tx.update(PARAMS, state, PARAMS))
    made_for = lambda *platforms: export.export(update, platforms=platforms)(state)
    barriers = lambda *platforms: made_for(*platforms).mlir_module().count("optimization_barrier")
    assert barriers("cuda") == barriers("rocm") > 0
    assert barriers("cpu") == barriers("tpu") == 0
    # One for all of them takes, on a CPU, the CPU's way.
    whole = made_for("cpu", "cuda", "tpu")
    assert whole.mlir_module().count("optimization_barrier") == barriers("cuda")
    want, got = update(state), whole.call(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), want, got)


def test_the_gpus_way_computes_the_same(monkeypatch):
    choose = jax.lax.platform_dependent
    gpu = lambda *args, cuda, default, **others: cuda(*args)
    for name, tx in OPTIMIZERS.items():
        ends = []
        for choice in (choose, gpu):
            monkeypatch.setattr(jax.lax, "platform_dependent", choice)
            step = jax.jit(lambda state, tx=tx: tx.update(PARAMS, state, PARAMS))
            ends.append(step(step(tx.init(PARAMS))[1]))
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6)
        jax.tree.map(close, *ends)
        assert jax.tree.structure(ends[0]) == jax.tree.structure(ends[1]), name


def test_hyperparameters_that_differ_between_devices_are_left_apart():
    mesh = jax.make_mesh((2,), ("copy",), axis_types=(AxisType.Auto,))
    tx, each = gradtx.adamw(0.1), PartitionSpec("copy")
    state = tx.init(PARAMS)

    def update(rate):
        mine = gradtx.set_hyperparams(state, learning_rate=rate[0])
        return tx.update(PARAMS, mine, PARAMS)[0]["b"][None]

    both = jax.jit(jax.shard_map(update, mesh=mesh, in_specs=each, out_specs=each))
    got = both(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(got[1], 2 * got[0], rtol=1e-6)
