import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.transforms.muon import QUINTIC, orthogonalize

SHAPES = {"bias": (3,), "tall": (6, 3), "wide": (2, 5)}


def trees(shapes=SHAPES, steps=4):
    rng = np.random.default_rng(0)
    draw = lambda: {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    return draw(), [draw() for _ in range(steps)]


def run(tx, params, grads):
    state = tx.init(params)
    for g in grads:
        updates, state = jax.jit(tx.update)(g, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("shape", [(4, 4), (8, 3), (3, 8), (1, 5)])
def test_orthogonalize_moves_singular_values_close_to_one_and_keeps_the_vectors(shape):
    x = np.random.default_rng(1).normal(size=shape)
    got = np.asarray(orthogonalize(jnp.asarray(x, jnp.float32), [QUINTIC] * 5))
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    values = np.diag(u.T @ got @ vt.T)
    assert ((values > 0.6) & (values < 1.3)).all()
    np.testing.assert_allclose(u * values @ vt, got, atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nesterov": False},
        {"consistent_rms": 0.2},
        {"ns_coeffs": np.tile(QUINTIC, (4, 1))},
    ],
)
def test_muon_is_optaxs(options):
    params, grads = trees()
    arguments = dict(weight_decay=0.1, adam_weight_decay=0.05, **options)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want, _ = run(optax.contrib.muon(0.05, **arguments), params, grads)
    got, _ = run(gradtx.muon(0.05, **arguments), params, grads)
    for key in params:
        np.testing.assert_allclose(got[key], want[key], rtol=2e-4, atol=2e-5)


def test_one_learning_rate_rules_both_halves_unless_adam_has_its_own():
    params, grads = trees(steps=1)
    tx = gradtx.muon(0.1)
    assert float(gradtx.hyperparams(tx.init(params))["learning_rate"]) == np.float32(0.1)
    still = gradtx.muon(0.1, adam_learning_rate=0.0)
    after, _ = run(still, params, grads)
    np.testing.assert_array_equal(after["bias"], params["bias"])
    assert (after["tall"] != params["tall"]).any()


def test_a_kernel_can_be_a_matrix_of_its_window_by_its_outputs():
    params, grads = trees({"kernel": (3, 3, 2, 4)}, steps=1)
    tx = gradtx.chain(gradtx.scale_by_muon(), gradtx.scale_by_shape())
    flat = jax.tree.map(lambda x: x.reshape(18, 4), grads[0])
    got, _ = tx.update(grads[0], tx.init(params))
    want, _ = tx.update(flat, tx.init(flat))
    np.testing.assert_allclose(got["kernel"].reshape(18, 4), want["kernel"], rtol=1e-5, atol=1e-6)
    whole = gradtx.muon(0.1, is_matrix=lambda leaf: leaf.ndim >= 2)
    assert run(whole, params, grads)[0]["kernel"].shape == (3, 3, 2, 4)


def test_a_vector_is_refused_with_a_remedy():
    tx = gradtx.scale_by_muon()
    with pytest.raises(ValueError, match=r"at least two dimensions; got shape \(3,\)\. Use `muon`"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))
    with pytest.raises(ValueError, match="`ns_coeffs` must be three numbers"):
        gradtx.scale_by_muon([(1.0, 2.0)])
