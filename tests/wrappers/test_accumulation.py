"""Gradient accumulation: test with SGD, since Adam hides a sum taken for a mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx


def outputs(tx, values):
    state, update, out = tx.init(jnp.zeros(1)), jax.jit(tx.update), []
    for value in values:
        u, state = update(jnp.array([value], jnp.float32), state, jnp.zeros(1))
        out.append(float(u[0]))
    return out, state


def test_the_mean_of_every_k():
    out, _ = outputs(gradtx.accumulate(gradtx.sgd(1.0), 3), [1, 2, 6, 3, 3, 0])
    assert out == [0, 0, -3, 0, 0, -2]


def test_one_step_is_the_inner_transform_itself():
    inner = gradtx.adam(0.1)
    assert gradtx.accumulate(inner, 1) is inner


def test_inner_schedules_and_a_schedule_of_steps_follow_updates():
    tx = gradtx.accumulate(gradtx.sgd(lambda count: 1.0 + count), lambda count: 1 + count)
    out, state = outputs(tx, [1] * 6)
    assert out == [-1, 0, -2, 0, 0, -3]
    assert int(state.slots["updates"]) == 3 and int(state.slots["inner"].count) == 3


def test_steps_are_live_and_need_no_recompilation():
    tx = gradtx.accumulate(gradtx.sgd(1.0), 4)
    state = gradtx.set_hyperparams(tx.init(jnp.zeros(1)), steps=2)
    update = jax.jit(tx.update)
    got = []
    for _ in range(4):
        u, state = update(jnp.ones(1), state)
        got.append(float(u[0]))
    assert got == [0, -1, 0, -1]


def test_low_precision_gradients_are_summed_in_float32():
    tx = gradtx.accumulate(gradtx.sgd(1.0), 512)
    g = jnp.ones(1, jnp.bfloat16)
    state = jax.lax.fori_loop(0, 511, lambda _, s: tx.update(g, s)[1], tx.init(g))
    np.testing.assert_array_equal(tx.update(g, state)[0].astype(jnp.float32), [-1.0])


@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_bad_steps(steps):
    with pytest.raises(ValueError, match="accumulate: `steps` must be"):
        gradtx.accumulate(gradtx.sgd(1.0), steps)
