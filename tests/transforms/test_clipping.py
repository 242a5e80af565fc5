"""Bounds on updates: of elements, leaves, units and whole trees; and centralized gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx


def updated(tx, updates, params=None):
    return tx.update(updates, tx.init(updates if params is None else params), params)


def tree(**leaves):
    return {key: x if x is None else jnp.asarray(x) for key, x in leaves.items()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_global_norm_is_taken_in_float32(dtype):
    """Optax's is taken in the leaf's dtype: in float16 it overflows, and the update is all zero."""
    grads = {str(i): jnp.full((2,), 300, dtype) for i in range(150)}
    u, state = jax.jit(lambda g: updated(gradtx.clip_by_global_norm(1.0), g))(grads)
    norm = 300 * np.sqrt(300)
    np.testing.assert_allclose(state.slots["norm"], norm, rtol=1e-3)
    assert all(x.dtype == dtype for x in u.values())
    np.testing.assert_allclose(np.float32(u["0"]), 300 / norm, rtol=1e-2)


@pytest.mark.parametrize("max_norm", [0.0, 1.0, np.inf])
def test_a_gradient_of_zero_stays_zero(max_norm):
    """Optax gives 0 / 0 where both norms are 0."""
    for make in (gradtx.clip_by_global_norm, gradtx.clip_by_block_norm, gradtx.clip_by_block_rms):
        u, _ = updated(make(max_norm), tree(a=[0.0, 0.0], b=0.0))
        np.testing.assert_array_equal(u["a"], [0, 0])


def test_an_infinite_bound_never_clips_and_a_zero_bound_always_does():
    g = tree(a=[3.0, -4.0])
    for make in (
        gradtx.clip,
        gradtx.clip_by_global_norm,
        gradtx.clip_by_block_norm,
        gradtx.clip_by_block_rms,
    ):
        np.testing.assert_array_equal(updated(make(np.inf), g)[0]["a"], [3, -4])
        np.testing.assert_array_equal(np.abs(updated(make(0.0), g)[0]["a"]), [0, 0])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_bad_gradient_makes_every_update_nan(bad):
    """Optax turns one infinity into zeros everywhere but at its own place."""
    u, state = updated(gradtx.clip_by_global_norm(1.0), tree(a=[1.0, bad], b=2.0))
    assert np.isnan(u["a"]).all() and np.isnan(u["b"])
    assert not np.isfinite(state.slots["norm"])


def test_the_norm_of_the_last_update_is_in_the_state_even_unclipped():
    _, state = updated(gradtx.clip_by_global_norm(10.0), tree(a=[3.0, 4.0], b=None))
    assert float(state.slots["norm"]) == 5.0


def test_clip_by_global_norm_leaves_small_updates_bit_for_bit():
    g = jnp.array([0.1, -0.3, 1e-30])
    assert jnp.array_equal(updated(gradtx.clip_by_global_norm(1.0), g)[0], g)


def test_clip_by_block_norm_bounds_each_leaf_alone():
    u, _ = updated(gradtx.clip_by_block_norm(1.0), tree(a=[3.0, 4.0], b=[0.3, 0.4]))
    np.testing.assert_allclose(u["a"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(u["b"], np.float32([0.3, 0.4]))


def test_clip_keeps_nan_visible():
    u, _ = updated(gradtx.clip_by_value(1.0), jnp.array([np.nan, np.inf, 0.5]))
    np.testing.assert_array_equal(u, [np.nan, 1.0, 0.5])


def test_a_bound_can_be_set_live_and_must_not_be_negative():
    tx = gradtx.clip_by_global_norm(1.0)
    g = jnp.array([3.0, 4.0])
    state = gradtx.set_hyperparams(tx.init(g), max_norm=0.5)
    np.testing.assert_allclose(tx.update(g, state)[0], [0.3, 0.4], rtol=1e-6)
    for make in (gradtx.clip, gradtx.clip_by_global_norm, gradtx.clip_by_block_rms):
        with pytest.raises(ValueError, match=r"clip.*must be in \[0, inf\].*got -1"):
            make(-1.0)


SHAPES = [(), (3,), (1, 3), (4, 3), (4, 3, 2), (3, 3, 4, 2), (2, 2, 2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_adaptive_clipping_bounds_each_unit_by_its_parameters(shape):
    rng = np.random.default_rng(0)
    p, g = rng.normal(size=shape), rng.normal(size=shape)
    u, _ = updated(
        gradtx.adaptive_grad_clip(0.3), jnp.asarray(g, jnp.float32), jnp.asarray(p, jnp.float32)
    )
    flat = np.squeeze(p).ndim <= 1
    inputs = len(shape) if flat else 1 if len(shape) <= 3 else len(shape) - 1
    units = lambda x: x.reshape(int(np.prod(shape[:inputs])), -1)
    of_p = np.linalg.norm(units(p), axis=0)
    of_u = np.linalg.norm(units(np.asarray(u)), axis=0)
    of_g = np.linalg.norm(units(g), axis=0)
    np.testing.assert_allclose(of_u, np.minimum(of_g, 0.3 * of_p), rtol=1e-5)


def test_adaptive_clipping_lets_parameters_of_zero_move():
    u, _ = updated(gradtx.adaptive_grad_clip(0.5, 0.1), jnp.array([30.0]), jnp.zeros(1))
    np.testing.assert_allclose(u, [0.05], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, -1])
def test_centralized_gradients_have_no_mean(axis):
    g = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)), jnp.float32)
    u, _ = updated(gradtx.centralize(output_axis=axis), {"w": g, "b": g[0, 0]})
    others = (1, 2) if axis == 0 else (0, 1)
    np.testing.assert_allclose(u["w"].mean(others), 0, atol=1e-6)
    np.testing.assert_array_equal(u["b"], g[0, 0])


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_a_matrix_lacks_is_refused(axis):
    message = rf"^centralize: `output_axis` must .* got {axis} for a leaf of shape \(2, 3\)\."
    with pytest.raises(ValueError, match=message):
        updated(gradtx.centralize(output_axis=axis), jnp.ones((2, 3)))
