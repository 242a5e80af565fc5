"""A gradtx state in the hands of other libraries: each by its real functions."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization
from flax.training.train_state import TrainState

import gradtx
from tests.core.test_state import STATES, bits

PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
GRADS = jax.tree.map(lambda p: 0.5 * jnp.ones_like(p), PARAMS)
EQUINOX = "equinox is in the extra `test`: pip install 'gradtx[test]'"
every = pytest.mark.parametrize("tx", STATES.values(), ids=list(STATES))
one = gradtx.adamw(0.1)


def step(tx, params, state):
    updates, state = tx.update(GRADS, state, params)
    return gradtx.apply_updates(params, updates), state


def stepped(tx):
    return jax.jit(step, static_argnums=0)(tx, PARAMS, tx.init(PARAMS))


def assert_same_state(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    assert bits(got) == bits(want)
    assert [x.dtype for x in jax.tree.leaves(got)] == [x.dtype for x in jax.tree.leaves(want)]


@every
def test_flax_writes_a_state_as_bytes_and_reads_it(tx):
    state = stepped(tx)[1]
    back = serialization.from_bytes(tx.init(PARAMS), serialization.to_bytes(state))
    assert_same_state(back, state)
    assert_same_state(step(tx, PARAMS, back)[1], step(tx, PARAMS, state)[1])


def test_flax_refuses_what_another_transformation_has_written():
    data = serialization.to_bytes(gradtx.adam(0.1).init(PARAMS))
    with pytest.raises(ValueError):
        serialization.from_bytes(gradtx.sgd(0.1).init(PARAMS), data)
    state = serialization.to_state_dict(gradtx.adam(0.1).init(PARAMS))
    del state["counter"]
    with pytest.raises(ValueError, match=r"state of chain must have the fields .* counter\."):
        serialization.from_state_dict(gradtx.adam(0.1).init(PARAMS), state)


def test_flax_is_found_when_it_is_loaded_after_gradtx():
    code = """
import sys, gradtx, jax.numpy as jnp
assert "flax" not in sys.modules
tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.sgd(0.1))
tx.init(jnp.ones(2))
assert "flax" not in sys.modules
from flax import serialization
state = tx.init(jnp.ones(2))
assert serialization.from_bytes(state, serialization.to_bytes(state)).name == "chain"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_orbax_keeps_a_train_state_of_flax(tmp_path):
    import orbax.checkpoint as ocp

    state = TrainState.create(apply_fn=None, params=PARAMS, tx=one).apply_gradients(grads=GRADS)
    state = state.replace(step=jnp.asarray(state.step))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        assert_same_state(checkpointer.restore(tmp_path / "state", shapes), state)


class Net(nnx.Module):
    def __init__(self):
        self.inner = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.inner(x)


def test_hyperparams_of_an_nnx_optimizer_are_read_and_set():
    model = Net()
    optimizer = nnx.Optimizer(model, gradtx.sgd(0.1), wrt=nnx.Param)
    grads = nnx.grad(lambda m: m(jnp.ones((1, 3))).sum())(model)
    update = nnx.jit(lambda model, optimizer, grads: optimizer.update(model, grads))
    for rate in (0.1, 0.5, 0.25):
        if rate != 0.1:
            new = gradtx.set_hyperparams(optimizer.opt_state, learning_rate=rate)
            optimizer.opt_state = new
        assert gradtx.hyperparams(optimizer.opt_state)["learning_rate"] == np.float32(rate)
        before = model.inner.bias[...]
        update(model, optimizer, grads)
        np.testing.assert_allclose(before - model.inner.bias[...], rate, rtol=1e-5)
    assert int(optimizer.opt_state.count[...]) == 3


def test_paths_of_nnx_parameters_end_with_the_parameters_name():
    params = nnx.state(Net(), nnx.Param)
    seen = []
    gradtx.label_by(all=lambda path, leaf: not seen.append(path))(params)
    assert seen == ["inner/bias", "inner/kernel"]
    labels = gradtx.label_by(bias="*/bias", rest="*")(params)
    assert jax.tree.leaves(labels) == ["bias", "rest"]
    assert jax.tree.leaves(gradtx.matching("inner/bias")(params)) == [True, False]
    assert [row.path for row in gradtx.describe(one, params).rows] == seen
    frozen = gradtx.freeze(gradtx.sgd(1.0), "*/kernel")
    updates, _ = frozen.update(params, frozen.init(params), params)
    assert not np.any(updates["inner"]["kernel"][...])
    # A field called `value` that is the user's own stays.
    own = optax.ScaleByAdamState(count=jnp.ones(()), mu={"value": jnp.ones(())}, nu=())
    assert jax.tree.leaves(gradtx.matching("mu/value")(own)) == [False, True]


@pytest.mark.parametrize("name", ["chain", "schedule", "wrappers"])
def test_tree_set_sets_a_learning_rate(name):
    state = STATES[name].init(PARAMS)
    state = optax.tree_utils.tree_set(state, learning_rate=jnp.float32(0.25))
    assert float(optax.tree_utils.tree_get(state, "learning_rate")) == 0.25


def test_tree_set_changes_the_step():
    tx = gradtx.sgd(0.1)
    state = optax.tree_utils.tree_set(tx.init(PARAMS), learning_rate=jnp.float32(0.5))
    updates, state = tx.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["b"], -0.25)
    assert gradtx.hyperparams(state)["learning_rate"] == 0.5


def test_pickle_keeps_a_state():
    state = stepped(one)[1]
    assert_same_state(pickle.loads(pickle.dumps(state)), state)


def test_vmap_takes_axes_for_every_leaf():
    state = stepped(one)[1]
    axes = jax.tree.map(lambda _: None, state)
    pairs = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), GRADS)
    update = lambda grads, state: one.update(grads, state, PARAMS)[0]
    got = jax.vmap(update, in_axes=(0, axes))(pairs, state)
    np.testing.assert_allclose(got["w"][0], update(GRADS, state)["w"], rtol=1e-6)


@every
def test_a_step_is_exported_with_its_state(tx):
    pytest.importorskip("flatbuffers", reason="flatbuffers is in the extra `test`")
    from jax import export

    state = tx.init(PARAMS)
    written = export.export(jax.jit(lambda p, s: step(tx, p, s)))(PARAMS, state).serialize()
    read = export.deserialize(written)
    got, want = read.call(PARAMS, state), step(tx, PARAMS, state)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    step(tx, got[0], got[1])  # which checks the state


@every
def test_equinox_jits_filters_and_writes_a_state(tx, tmp_path):
    eqx = pytest.importorskip("equinox", reason=EQUINOX)
    run = eqx.filter_jit(lambda params, state: step(tx, params, state))
    params, state = run(PARAMS, tx.init(PARAMS))
    params, state = run(params, state)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))
    arrays, rest = eqx.partition(state, eqx.is_array)
    assert_same_state(eqx.combine(arrays, rest), state)
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", state)
    shapes = eqx.filter_eval_shape(tx.init, PARAMS)
    assert_same_state(eqx.tree_deserialise_leaves(tmp_path / "state.eqx", shapes), state)


def test_equinox_modules_are_trained():
    eqx = pytest.importorskip("equinox", reason=EQUINOX)
    model = eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    params = eqx.filter(model, eqx.is_inexact_array)
    seen = []
    gradtx.label_by(all=lambda path, leaf: not seen.append(path))(params)
    assert "layers/0/weight" in seen
    state = one.init(params)

    @eqx.filter_jit
    def train(model, state):
        loss = lambda model: jnp.mean(jnp.square(jax.vmap(model)(jnp.ones((4, 3)))))
        value, grads = eqx.filter_value_and_grad(loss)(model)
        updates, state = one.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, value

    values = []
    for _ in range(5):
        model, state, value = train(model, state)
        values.append(float(value))
    assert values[-1] < values[0]
