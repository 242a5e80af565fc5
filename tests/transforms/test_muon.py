import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import MuonDimensionNumbers

import gradtx
from gradtx.core.parts import pass_through
from gradtx.transforms.muon import QUINTIC, orthogonalize

SHAPES = {"bias": (3,), "tall": (6, 3), "wide": (2, 5)}


def trees(shapes=SHAPES, steps=4):
    rng = np.random.default_rng(0)
    draw = lambda: {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    return draw(), [draw() for _ in range(steps)]


def run(tx, params, grads, state=None):
    state = tx.init(params) if state is None else state
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, params)
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
        {"preconditioning": "aol", "adaptive": True},
        {"preconditioning": "schatten", "ns_coeffs": "dion", "ns_steps": 5},
        {"preconditioning": "spectral", "nesterov": False, "adam_learning_rate": 0.01},
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


NUMBERS = {
    "bias": None,
    "embed": None,
    "stack": MuonDimensionNumbers(1, -1),
    "conv": MuonDimensionNumbers((0, 1, 2), 3),
}
MANY = {"bias": (3,), "embed": (5, 3), "stack": (3, 4, 5), "conv": (2, 2, 3, 4)}


def test_dimension_numbers_are_optaxs():
    params, grads = trees(MANY, steps=2)
    arguments = dict(weight_decay=0.1, muon_weight_dimension_numbers=lambda params: NUMBERS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want, _ = run(optax.contrib.muon(0.05, **arguments), params, grads)
    got, state = run(gradtx.contrib.muon(0.05, **arguments), params, grads)
    for key in params:
        np.testing.assert_allclose(got[key], want[key], rtol=2e-4, atol=2e-5)
    mu = state[0]["muon"][0][0][1]  # as scripts read it off Optax's
    assert isinstance(mu["embed"], optax.MaskedNode) and mu["conv"].shape == MANY["conv"]


def newton_schulz(m, rounds):
    """The paper's iteration in float64."""
    x = m / np.linalg.norm(m)
    for a, b, c in rounds:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def test_stacked_layers_are_matrices_of_their_own():
    g = np.random.default_rng(2).normal(size=(3, 4, 5))
    tx = gradtx.scale_by_muon(nesterov=False, weight_dimension_numbers=MuonDimensionNumbers(2, 1))
    got, _ = tx.update(jnp.asarray(g, jnp.float32), tx.init(jnp.asarray(g, jnp.float32)))
    want = [newton_schulz(layer, [QUINTIC] * 5) for layer in g]  # of inputs by outputs: turned over
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


def test_small_gradients_are_as_good_as_large_ones_whatever_they_are_divided_by():
    g = jnp.asarray(np.random.default_rng(3).normal(size=(4, 6)), jnp.float32)
    for kind in ("frobenius", "spectral", "aol", "schatten"):
        tx = gradtx.scale_by_muon(preconditioning=kind)
        state, update = tx.init(g), jax.jit(tx.update)
        large, small, zero = (update(x * g, state)[0] for x in (1, 1e-5, 0))
        np.testing.assert_allclose(small, large, rtol=1e-2, atol=1e-2)
        np.testing.assert_array_equal(zero, 0)


def test_hyperparameters_are_live_and_can_differ_between_groups():
    params, grads = trees(steps=2)
    want, _ = run(gradtx.muon(0.1, beta=0.8, eps=1e-6), params, grads)
    tx = gradtx.muon(0.5)
    state = gradtx.set_hyperparams(tx.init(params), learning_rate=0.1, beta=0.8)
    eps = {f"{part}.eps": 1e-6 for part in ("scale_by_muon", "scale_by_adam")}
    got, _ = run(tx, params, grads, gradtx.set_hyperparams(state, **eps))
    for key in params:
        np.testing.assert_allclose(got[key], want[key], rtol=2e-4, atol=2e-5)
    rates = gradtx.by_group(gradtx.label_by(still="tall", rest="*"), still=0.0, rest=0.1)
    after, _ = run(gradtx.muon(rates), params, grads[:1])
    np.testing.assert_array_equal(after["tall"], params["tall"])
    assert (after["wide"] != params["wide"]).any() and (after["bias"] != params["bias"]).any()


def test_what_muon_is_made_of_is_told():
    params, grads = trees(steps=1)
    tx = gradtx.muon(0.1)
    rows = {row.path: row.transforms for row in gradtx.describe(tx, params).rows}
    ends = {transforms[-1] for transforms in rows.values()}
    assert ends == {"scale_by_learning_rate(learning_rate=0.1)"}
    assert rows["bias"][0].startswith("scale_by_adam") and len(rows["tall"]) == 4
    passed = pass_through(tx, grads[0], tx.init(params), params)
    want, _ = tx.update(grads[0], tx.init(params), params)
    assert passed[-1].name == "scale_by_learning_rate"
    for key in params:
        np.testing.assert_allclose(passed[-1].after[key], want[key], rtol=2e-4, atol=2e-5)


def test_what_dimension_numbers_must_be_is_said():
    params, _ = trees(MANY)
    numbers = lambda **more: gradtx.muon(0.1, muon_weight_dimension_numbers=NUMBERS | more)
    cases = {
        "must be axes of the leaf; got 5": numbers(stack=MuonDimensionNumbers(5, 1)),
        "must differ; got": numbers(stack=MuonDimensionNumbers((0, 1), -2)),
        "at least two dimensions": numbers(bias=MuonDimensionNumbers()),
    }
    for match, tx in cases.items():
        with pytest.raises(ValueError, match=match):
            tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="muon: the dimension numbers must be a tree like"):
        gradtx.muon(0.1, muon_weight_dimension_numbers={"no": None}).init(params)
    with pytest.raises(ValueError, match="got both"):
        gradtx.muon(0.1, muon_weight_dimension_numbers=NUMBERS, is_matrix=lambda leaf: True)
    with pytest.raises(TypeError, match="MuonDimensionNumbers, a tree of them, or a function"):
        gradtx.muon(0.1, muon_weight_dimension_numbers={"stack": 3})


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
