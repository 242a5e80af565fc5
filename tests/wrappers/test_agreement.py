"""Updates that agree with the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

G = jnp.array([1.0, -2.0, 0.0, 3.0])


def stepping(updates):
    """A transformation that makes these updates, whatever it is given."""
    return optax.stateless(lambda g, p: updates)


@pytest.mark.parametrize(("xi", "factor"), [(1.0, 4 / 3), (0.0, 2.0), (2.0, 1.0)])
def test_what_disagrees_is_left_out_and_the_rest_enlarged(xi, factor):
    tx = gradtx.cautious(stepping(jnp.array([-1.0, -1.0, -1.0, -5.0])), xi)
    u, _ = tx.update(G, tx.init(G))
    np.testing.assert_allclose(u, np.array([-1, 0, 0, -5]) * factor, rtol=1e-6)
    up = gradtx.cautious(stepping(jnp.array([1.0, 1.0, 1.0, 5.0])), xi, descent=False)
    np.testing.assert_allclose(up.update(G, up.init(G))[0], -u, rtol=1e-6)


def test_where_nothing_agrees_nothing_moves():
    tx = gradtx.cautious(stepping(G), 0.0)
    np.testing.assert_array_equal(tx.update(G, tx.init(G))[0], 0)


def test_tiny_numbers_have_signs_too_and_nan_is_not_hidden():
    tx = gradtx.cautious(stepping(jnp.array([-1e-30, jnp.nan])), 0.0)
    u, _ = tx.update(jnp.array([1e-30, 1.0]), tx.init(jnp.zeros(2)))
    assert float(u[0]) == pytest.approx(-2e-30) and np.isnan(u[1])


def test_complex_numbers_agree_where_the_angle_is_sharp():
    g = jnp.array([1.0 + 0j, 0 + 1j, 1.0 + 0j])
    tx = gradtx.cautious(stepping(jnp.array([-1 + 5j, 0 - 2j, 1j])), 0.0)
    u, _ = tx.update(g, tx.init(g))
    np.testing.assert_allclose(u, np.array([-1 + 5j, -2j, 0]) * 1.5, rtol=1e-6)


def test_weight_decay_after_it_acts_everywhere():
    """The paper's algorithm for AdamW."""
    p, rate, decay = jnp.array([1.0, 2.0]), 0.1, 0.5
    tx = gradtx.chain(
        gradtx.cautious(gradtx.scale_by_momentum(0.9), descent=False),
        gradtx.add_decayed_weights(decay),
        gradtx.scale_by_learning_rate(rate),
    )
    _, state = tx.update(jnp.array([1.0, 1.0]), tx.init(p), p)
    u, _ = tx.update(jnp.array([1.0, -0.5]), state, p)
    np.testing.assert_allclose(u, -rate * (np.array([1.9, 0]) * 2 / 2 + decay * p), rtol=1e-6)


def test_parts_without_a_learning_rate_are_told_from_optimizers():
    part = gradtx.chain(gradtx.scale_by_adam(), gradtx.scale_by_sign())
    with pytest.raises(ValueError, match=r"got scale_by_adam, scale_by_sign\. Pass descent=False"):
        gradtx.cautious(part)
    inside = gradtx.quantize_moments(gradtx.chain(gradtx.clip(1.0), gradtx.scale_by_adam()))
    with pytest.raises(ValueError, match=r"got clip, scale_by_adam\. Pass descent=False"):
        gradtx.cautious(inside)
    gradtx.cautious(gradtx.chain(part, gradtx.scale(-0.1)))
    gradtx.cautious(gradtx.muon(0.1))
    gradtx.cautious(gradtx.freeze(gradtx.adam(0.1), "*bias"))
    gradtx.cautious(optax.adam(0.1))
    with pytest.raises(ValueError, match=r"`xi` must be in \[0, inf\); got -1"):
        gradtx.cautious(gradtx.sgd(0.1), -1.0)


def test_leaves_without_gradient_and_low_precision():
    tx = gradtx.cautious(gradtx.adam(0.1))
    params = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(2)}
    u, _ = tx.update({"a": params["a"], "b": None}, tx.init(params))
    assert u["b"] is None and u["a"].dtype == jnp.bfloat16
    np.testing.assert_allclose(u["a"].astype(jnp.float32), -0.1 * 3 / 4, rtol=1e-2)
    assert gradtx.hyperparams(tx.init(params)).keys() >= {"xi", "learning_rate"}


def test_no_bytes_of_its_own_for_a_parameter():
    arrays = lambda tx: [x.shape for x in jax.tree.leaves(tx.init(G)) if x.ndim]
    assert arrays(gradtx.cautious(gradtx.adam(0.1))) == arrays(gradtx.adam(0.1))
