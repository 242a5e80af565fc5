"""Parameters and model states of every kind: shared, weakly typed, complex, of other containers."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict

import gradtx
from gradtx.hooks import (
    best_params,
    ema_params,
    reset_model_state,
    save_best,
    terminate_on_nan,
)
from gradtx.loop import Loop, compiled_fit, fit
from tests.loop import small


def tied(params, model_state, batch, *, key, training):
    return batch["x"] @ (params["a"] + params["b"]), model_state


def test_what_shares_a_buffer_can_be_donated_and_the_callers_arrays_stay():
    """Tied parameters, also as model state, and an optimizer that keeps the parameters."""
    for tx in (gradtx.adam(0.1), optax.contrib.prodigy()):
        w = jnp.zeros(3)
        loop = small.make(terminate_on_nan(), apply=tied, tx=tx)
        state = loop.init({"a": w, "b": w}, {"w": w})
        with jax.numpy_dtype_promotion("standard"):  # for Optax
            want, _ = fit(loop, state, small.batches(), epochs=2)
            got, _ = fit(loop, state, small.batches(), epochs=2, donate=True)
        small.assert_same(got, want)
        assert w.tolist() == [0, 0, 0]


def test_parameters_put_into_a_state_twice_can_be_donated():
    loop = small.make(save_best(), tx=gradtx.sgd(0.01))
    state, _ = small.run(loop)
    params, model_state = best_params(state)
    state = state.replace(params=params, model_state=model_state)
    want, _ = small.run(loop, state)
    got, _ = small.run(loop, state, donate=True)
    small.assert_same(got, want)


@pytest.mark.parametrize(
    "kind", [FrozenDict, pytest.param(OrderedDict, marks=pytest.mark.thorough)]
)
def test_a_model_state_keeps_its_container(kind):
    """`apply` gives back a dict, as Flax does for a FrozenDict."""
    plain, other = small.make(), small.make(save_best(restore=True), ema_params(0.9))
    want, _ = small.run(small.make(save_best(restore=True), ema_params(0.9)), epochs=1)
    for loop in (plain, other):
        state = loop.init(small.params(), kind(small.model_state()))
        host, _ = fit(loop, state, small.batches(), small.valid, epochs=1)
        assert jax.tree.structure(host) == jax.tree.structure(state)
        data = small.DATA, small.orders(1), small.DATA, small.VALID_ORDER
        whole, _, _ = compiled_fit(loop, state, *data)
        assert jax.tree.structure(whole) == jax.tree.structure(state)
    small.assert_same(host.params, want.params)
    small.assert_same(dict(host.model_state), want.model_state)


@pytest.mark.parametrize("kind", [FrozenDict, OrderedDict, dict])
def test_a_reset_keeps_the_container_too(kind):
    def apply(params, model_state, batch, *, key, training):
        pred, _ = small.apply(params, model_state["a"], batch, key=key, training=training)
        return pred, {name: {"mean": x["mean"] + 1} for name, x in model_state.items()}

    loop = small.make(reset_model_state("carry"), apply=apply)
    state = loop.init(
        small.params(), kind({"carry": small.model_state(), "a": small.model_state()})
    )
    got, _ = fit(loop, state, small.batches(), epochs=1)
    assert jax.tree.structure(got) == jax.tree.structure(state)
    assert got.model_state["carry"]["mean"].tolist() == [0.0] * 4
    assert got.model_state["a"]["mean"].tolist() == [3.0] * 4


def test_frozen_parameters_train():
    loop = small.make(save_best(restore=True), ema_params(0.9))
    state = loop.init(FrozenDict(small.params()), small.model_state())
    got, _ = small.run(loop, state, epochs=1)
    assert isinstance(got.params, FrozenDict)


def test_a_weak_type_compiles_nothing_twice():
    """Neither that of a parameter, as jnp.array(.5) has, nor one that a function returns."""
    traces = []

    def apply(params, model_state, batch, *, key, training):
        traces.append(training)
        return batch["x"].sum(axis=1) * params["a"], {"seen": jnp.asarray(1.0)}

    loop = small.make(apply=apply, tx=gradtx.adam(0.1))
    state = loop.init({"a": jnp.array(0.5)}, {"seen": jnp.array(0.0)})
    assert not any(x.weak_type for x in jax.tree.leaves(state) if hasattr(x, "weak_type"))
    small.run(loop, state, epochs=2)
    assert traces.count(True) == traces.count(False) == 1


TARGET = np.array([1 + 1j, 2 - 1j, -0.5j], np.complex64)
ALONE = optax.contrib.split_real_and_imaginary


@pytest.mark.parametrize("tx", [optax.sgd(0.05), ALONE(gradtx.sgd(0.05)), ALONE(gradtx.adam(0.05))])
def test_complex_parameters_go_downhill(tx):
    """JAX's gradient of one is the conjugate of the direction in which the loss rises."""
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(8, 3)) + 1j * rng.normal(size=(8, 3))).astype(np.complex64)
    loop = Loop(
        lambda params, state, batch, *, key, training: (batch["z"] @ params, state),
        lambda pred, batch: jnp.abs(pred - batch["t"]) ** 2,
        tx,
    )
    batch = {"z": z, "t": z @ TARGET}
    state = loop.init(jnp.zeros(3, jnp.complex64))
    with jax.numpy_dtype_promotion("standard"):  # for Optax
        state, _ = fit(loop, state, [batch] * 100, epochs=3)
    np.testing.assert_allclose(state.params, TARGET, atol=1e-3)


def test_one_complex_step_is_two_real_ones():
    """dL/dx + i dL/dy, against the loss of the real and the imaginary part."""
    z, t = np.complex64(1 + 2j), np.complex64(3 - 1j)
    start = np.complex64(0.5 - 0.25j)
    loss = lambda pred, batch: jnp.abs(pred * pred - batch["t"]) ** 2
    apply = lambda params, state, batch, *, key, training: (params * batch["z"], state)
    loop = Loop(apply, loss, optax.sgd(0.01))
    batch = {"z": jnp.full(1, z), "t": jnp.full(1, t)}
    state, _ = fit(loop, loop.init(jnp.asarray(start)), [batch], epochs=1)
    real = lambda xy: jnp.abs(((xy[0] + 1j * xy[1]) * z) ** 2 - t) ** 2
    with jax.numpy_dtype_promotion("standard"):
        dx, dy = jax.grad(real)(jnp.array([start.real, start.imag]))
    want = start - 0.01 * (complex(dx) + 1j * complex(dy))
    np.testing.assert_allclose(complex(state.params), want, rtol=1e-5)
