"""What low-precision parameters keep of small updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

REMEDIES = {
    "stochastic": lambda tx: gradtx.chain(tx, gradtx.stochastic_rounding(seed=3)),
    "kahan": lambda tx: gradtx.chain(tx, gradtx.kahan_summation()),
    "master": gradtx.master_weights,
}


def descend(tx, dtype, grad_dtype, n=100):
    params = jnp.ones(1000, dtype)

    def step(_, carry):
        params, state = carry
        updates, state = tx.update(jnp.ones_like(params, dtype=grad_dtype), state, params)
        return gradtx.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, n, step, (params, tx.init(params)))[0].astype(jnp.float32)


@pytest.mark.parametrize("name", REMEDIES)
@pytest.mark.parametrize("grad_dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.bfloat16, 2e-3), (jnp.float16, 3e-4)])
def test_a_hundred_small_steps_arrive(name, grad_dtype, dtype, tolerance):
    mean = descend(REMEDIES[name](gradtx.sgd(1e-3)), dtype, grad_dtype).mean()
    np.testing.assert_allclose(mean, 0.9, atol=tolerance)


def test_plain_rounding_does_not_move():
    np.testing.assert_array_equal(descend(gradtx.sgd(1e-3), jnp.bfloat16, jnp.float32), 1)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("start", [1.0, -3.0, 1e-7, 0.0])
def test_stochastic_rounding_is_unbiased_and_takes_neighbors_only(dtype, start):
    n = 40_000
    p = jnp.full(n, start, dtype)
    step = float(
        jnp.nextafter(p[0], jnp.array(jnp.inf, dtype)).astype(jnp.float32)
        - p[0].astype(jnp.float32)
    )
    if start == 0.0:
        step = 1e-6 if dtype == jnp.float16 else 1e-3
    u = jnp.full(n, 0.3 * step, jnp.float32)
    tx = gradtx.stochastic_rounding(seed=0)
    updates, _ = jax.jit(tx.update)(u, tx.init(p), p)
    moved = gradtx.apply_updates(p, updates).astype(jnp.float32)
    exact = p.astype(jnp.float32) + u
    values = np.unique(np.asarray(moved))
    assert len(values) <= 2 and values.min() <= float(exact[0]) <= values.max()
    # Five standard errors of the mean of n draws from two neighbors.
    spread = float(values.max() - values.min())
    np.testing.assert_allclose(
        np.asarray(moved, np.float64).mean(), exact[0], rtol=0, atol=5 * spread / 2 / n**0.5 + 1e-12
    )


def test_random_bits_differ_by_leaf_and_step_and_repeat():
    p = [jnp.ones(64, jnp.bfloat16)] * 2
    u = [jnp.full(64, 2e-3)] * 2
    tx = gradtx.stochastic_rounding()
    first, state = tx.update(u, tx.init(p), p)
    again, _ = tx.update(u, tx.init(p), p)
    second, _ = tx.update(u, state, p)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any() and (first[0] != second[0]).any()


@pytest.mark.parametrize("name", ["stochastic", "master"])
def test_wide_parameters_are_left_alone(name):
    p, g = jnp.linspace(1.0, 2.0, 8), jnp.full(8, 1e-3)
    tx, plain = REMEDIES[name](gradtx.sgd(0.1)), gradtx.sgd(0.1)
    state = tx.init(p)
    np.testing.assert_array_equal(tx.update(g, state, p)[0], plain.update(g, plain.init(p), p)[0])
    assert not any(x.ndim for x in jax.tree.leaves(state))


def test_kahan_summation_carries_both_parts_of_complex_numbers():
    tx = REMEDIES["kahan"](gradtx.sgd(1.0))
    p = jnp.array([2.0**24 + 2.0**24 * 1j], jnp.complex64)  # where 1 is lost
    g, state = jnp.full(1, -1 - 1j, jnp.complex64), tx.init(p)
    for _ in range(4):
        updates, state = tx.update(g, state, p)
        p = p + updates
    np.testing.assert_array_equal(p, [(2.0**24 + 4) * (1 + 1j)])


def test_master_weights_take_over_parameters_that_others_change():
    tx = gradtx.master_weights(gradtx.sgd(1e-3))
    p = jnp.ones(2, jnp.bfloat16)
    _, state = tx.update(jnp.ones(2), tx.init(p), p)
    changed = p.at[1].set(4.0)
    _, state = tx.update(jnp.ones(2), state, changed)
    np.testing.assert_allclose(state.slots["master"], [1 - 2e-3, 4 - 1e-3], rtol=1e-6)


@pytest.mark.parametrize("name", REMEDIES)
def test_parameters_are_needed(name):
    tx = REMEDIES[name](gradtx.sgd(0.1))
    p = jnp.ones(2, jnp.bfloat16)
    with pytest.raises(ValueError, match=r"needs the parameters; got params=None"):
        tx.update(p, tx.init(p))
