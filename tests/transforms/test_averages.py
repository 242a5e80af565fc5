"""Transforms that keep a second copy of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from tests.transforms.trajectories import gradtx_run, start

COPIES = {
    "lookahead": (gradtx.lookahead(gradtx.sgd(0.1), 2), lambda s: s.slots["slow"]),
    "schedule_free": (gradtx.schedule_free_sgd(0.1), lambda s: s.slots["z"]),
    "ema_params": (gradtx.ema_params(0.9), lambda s: s.slots["average"]),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_no_alias_so_both_can_be_donated(name):
    tx, copy = COPIES[name]
    params = {"w": jnp.ones(3)}
    state = tx.init(params)
    assert copy(state)["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()
    step = jax.jit(lambda g, s, p: tx.update(g, s, p), donate_argnums=(1, 2))
    updates, _ = step({"w": jnp.ones(3)}, state, params)
    assert np.isfinite(updates["w"]).all()


def test_schedule_free_says_that_a_state_is_of_other_parameters():
    tx = gradtx.schedule_free_sgd(0.1)
    state, other = tx.init({"w": jnp.ones(2)}), {"w": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"`updates` must match `state.slots\['z'\]`.*`init`"):
        tx.update(other, state, other)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_at_least_float32_and_the_state_keeps_its_type(name):
    tx, copy = COPIES[name]
    params = {"w": jnp.ones(3, jnp.bfloat16), "frozen": None}
    state = tx.init(params)
    updates, new = jax.jit(tx.update)(params, state, params)
    assert copy(state)["w"].dtype == jnp.float32
    assert updates["w"].dtype == jnp.bfloat16
    same = lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype)
    assert all(jax.tree.leaves(jax.tree.map(same, state, new)))


@pytest.mark.parametrize("name", COPIES)
def test_a_parameter_without_a_gradient_stays(name):
    tx, copy = COPIES[name]
    params = {"w": jnp.ones(3), "still": jnp.ones(2)}
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update({"w": jnp.ones(3), "still": None}, state, params)
        assert updates["still"] is None
        params = gradtx.apply_updates(params, updates)
    np.testing.assert_array_equal(params["still"], 1)
    np.testing.assert_array_equal(copy(state)["still"], 1)
    assert (params["w"] != 1).all()


def test_ema_params_is_the_closed_form_of_the_parameters_it_saw():
    params, grads = start()
    tx = gradtx.chain(gradtx.sgd(0.1), gradtx.ema_params(0.8))
    seen, state = gradtx_run(tx, params, grads, dtype=jnp.float32)
    n = len(grads)
    average = gradtx.averaged_params(state, jax.tree.map(jnp.asarray, seen[-1]))
    for key, p in params.items():
        want = 0.8**n * p + sum(0.2 * 0.8 ** (n - 1 - t) * seen[t][key] for t in range(n))
        np.testing.assert_allclose(average[key], want, rtol=1e-5)


def test_ema_params_debiased_weighs_only_what_it_saw():
    tx = gradtx.chain(gradtx.sgd(1.0), gradtx.ema_params(0.9, debias=True))
    params = jnp.array([5.0])
    state = tx.init(params)
    assert gradtx.averaged_params(state, params).tolist() == [5.0]
    seen = []
    for _ in range(3):
        updates, state = tx.update(jnp.ones(1), state, params)
        params = gradtx.apply_updates(params, updates)
        seen.append(float(params[0]))
    weights = np.array([0.81, 0.9, 1.0])
    want = (weights * seen).sum() / weights.sum()
    np.testing.assert_allclose(gradtx.averaged_params(state, params), [want], rtol=1e-6)


@pytest.mark.parametrize("b1", [0.9, lambda t: 0.9 - 0.05 * t])
def test_schedule_free_evaluates_at_the_average_of_all_steps(b1):
    """Under a constant rate x is the plain mean of z_1 ... z_t."""
    tx = gradtx.chain(gradtx.clip(10.0), gradtx.schedule_free_sgd(0.1, b1=b1))
    params = {"w": jnp.array([1.0, -2.0])}
    state, zs = tx.init(params), []
    for _ in range(5):
        updates, state = tx.update(jax.tree.map(lambda p: 2 * p, params), state, params)
        params = gradtx.apply_updates(params, updates)
        zs.append(np.asarray(state.slots[1].slots["z"]["w"]))
    x = gradtx.schedule_free_eval_params(state, params)["w"]
    np.testing.assert_allclose(x, np.mean(zs, axis=0), rtol=1e-5)


def test_schedule_free_around_an_optimizer_with_its_own_rate_is_the_same():
    params, grads = start()
    whole = gradtx.schedule_free(gradtx.sgd(0.05), 0.05)
    (a, _), (b, _) = (
        gradtx_run(tx, params, grads, dtype=jnp.float32)
        for tx in (whole, gradtx.schedule_free_sgd(0.05))
    )
    for key in params:
        np.testing.assert_allclose(a[-1][key], b[-1][key], rtol=1e-5)


def test_one_number_rules_schedule_frees_rate():
    tx = gradtx.schedule_free_adamw(0.1)
    state = gradtx.set_hyperparams(tx.init(jnp.ones(2)), learning_rate=0.0)
    updates, _ = tx.update(jnp.ones(2), state, jnp.ones(2))
    np.testing.assert_array_equal(updates, 0)


def test_lookahead_returns_to_the_slow_parameters_every_kth_update():
    tx = gradtx.lookahead(gradtx.sgd(1.0), 3, 0.5)
    params = jnp.array([0.0])
    state, seen = tx.init(params), []
    for _ in range(6):
        updates, state = tx.update(jnp.array([-1.0]), state, params)
        params = gradtx.apply_updates(params, updates)
        seen.append(float(params[0]))
    assert seen == [1, 2, 1.5, 2.5, 3.5, 3.0]


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match=r"lookahead: `sync_period` must be at least 1, .*; got 0"):
        gradtx.lookahead(gradtx.sgd(0.1), 0)
    with pytest.raises(ValueError, match=r"`b1` must be in \(0, 1\); got 0"):
        gradtx.schedule_free_sgd(0.1, b1=0.0)
    with pytest.raises(ValueError, match="the state of one schedule_free; got 0"):
        gradtx.schedule_free_eval_params(gradtx.sgd(0.1).init(jnp.ones(1)), jnp.ones(1))
    with pytest.raises(ValueError, match="the state of one ema_params; got 2"):
        two = gradtx.chain(gradtx.ema_params(), gradtx.ema_params())
        gradtx.averaged_params(two.init(jnp.ones(1)), jnp.ones(1))
