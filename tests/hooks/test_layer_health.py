"""What is measured of every layer, and the warnings of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.hooks import accumulate_gradients, clip_gradients, layer_health, layer_histograms
from gradtx.loop import (
    HISTOGRAM_EDGES,
    Hook,
    Loop,
    Observer,
    activation_statistics,
    compiled_fit,
    fit,
    from_linen,
    histogram,
    never,
    population,
    sampled,
    take,
    with_sown,
)
from gradtx.testing import check_hook
from tests.loop import small

BATCHES = [take(small.DATA, rows) for rows in small.orders(1)[0]]
CHAIN = gradtx.chain(gradtx.clip_by_global_norm(0.5), gradtx.adamw(0.05, weight_decay=0.1))


def told(loop, state, epochs=2):
    """The steps' logs, each with only what is of health; and the state after them."""
    logs = []
    keep = lambda report: logs.append({k: v for k, v in report.log.items() if "health" in k})
    seen = Observer({"after_batch": keep}, reads=never)
    state, history = fit(loop, state, BATCHES, epochs=epochs, observers=[seen])
    return logs, state, history


@pytest.fixture(scope="module")
def run():
    hooks = layer_health(CHAIN, every=2), layer_histograms(4)
    loop = small.make(*hooks, tx=CHAIN)
    state = small.start(loop)
    return loop, state, *told(loop, state)


def norm(x):
    return np.linalg.norm(np.asarray(x, np.float64))


def plain_steps(count):
    """(gradients, parameters, updates) of each step, without a loop."""
    params, opt_state = small.params(), CHAIN.init(small.params())
    state, steps = small.model_state(), []
    for i in range(count):
        batch = BATCHES[i % 3]

        def mean(params, batch=batch, state=state):
            pred, new = small.apply(params, state, batch, key=None, training=True)
            return small.loss(pred, batch).mean(), new

        grads, state = jax.grad(mean, has_aux=True)(params)
        updates, opt_state = CHAIN.update(grads, opt_state, params)
        steps.append((grads, params, updates))
        params = optax.apply_updates(params, updates)
    return steps


def test_norms_and_counts_are_those_of_a_training_without_a_loop(run):
    _, _, logs, _, _ = run
    for i, (grads, params, updates) in enumerate(plain_steps(6)):
        assert bool(logs[i]) == (i % 2 == 0)
        if not logs[i]:
            continue
        for leaf in ("w1", "b", "w2"):
            g, p, u = norm(grads[leaf]), norm(params[leaf]), norm(updates[leaf])
            got = [
                logs[i][f"health/{what}/{leaf}"]
                for what in ("grad_norm", "param_norm", "update_norm", "update_ratio")
            ]
            np.testing.assert_allclose(got, [g, p, u, u / p if p else 0], rtol=1e-4)
            counts = [logs[i].get(f"health/histogram/{x}/{leaf}") for x in ("grads", "params")]
            if i % 4:
                assert counts == [None, None]
            else:
                bounds = [-np.inf, *HISTOGRAM_EDGES, np.inf]
                want = [np.histogram(x[leaf], bounds)[0] for x in (grads, params)]
                assert abs(np.asarray(counts) - want).sum() <= 2  # one that lies at an edge


def test_shares_of_the_parts_are_what_their_formulas_say(run):
    """At the first step Adam makes g / |g| of every gradient."""
    _, _, logs, _, _ = run
    grads, params, _ = plain_steps(1)[0]
    g, p = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (grads, params))
    got = {name.removeprefix("health/"): value for name, value in logs[0].items()}
    assert got["factor/clip_by_global_norm"] == pytest.approx(0.5 / norm(g), rel=1e-4)
    assert got["share/clip_by_global_norm"] == pytest.approx(1 - 0.5 / norm(g), rel=1e-4)
    clipped, adam = g * 0.5 / norm(g), np.sign(g)
    assert got["share/scale_by_adam"] == pytest.approx(norm(adam - clipped) / norm(adam), rel=1e-3)
    decayed = adam + 0.1 * p
    decay = norm(0.1 * p) / max(norm(decayed), norm(adam))
    assert got["share/add_decayed_weights"] == pytest.approx(decay, rel=1e-3)
    assert got["factor/scale_by_learning_rate"] == pytest.approx(0.05, rel=1e-5)
    assert got["share/scale_by_learning_rate"] == pytest.approx(0.95, rel=1e-5)


def test_the_history_has_scalars_with_nan_between_and_arrays_by_step(run):
    _, _, logs, _, history = run
    got = history.steps["health/grad_norm/w1"]
    assert np.isnan(got).tolist() == [False, True] * 3
    assert got[2] == logs[2]["health/grad_norm/w1"]
    counts = history.samples["health/histogram/updates/w1"]
    assert [*counts] == [0, 4] and all(x.sum() == 12 for x in counts.values())
    assert "health/histogram/updates/w1" not in history.steps


def test_the_compiled_fit_and_populations_say_the_same(run):
    loop, state, logs, _, _ = run
    whole = jax.jit(lambda state: compiled_fit(loop, state, small.DATA, small.orders(2)))
    end, got, _ = whole(state)
    found = sampled(loop, state, got)
    assert found["health/histogram/grads/b"].shape == (2, 3, len(HISTOGRAM_EDGES) + 1)
    share = found["health/share/clip_by_global_norm"]
    assert np.isnan(share).tolist() == [[False, True, False], [True, False, True]]
    assert share[0, 0] == pytest.approx(logs[0]["health/share/clip_by_global_norm"], rel=1e-6)
    many = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    both, more, _ = jax.jit(
        lambda states: population(loop, states, small.DATA, small.orders(2), how="vmap")
    )(many)
    np.testing.assert_allclose(
        sampled(loop, state, more)["health/share/clip_by_global_norm"], [share] * 2, rtol=1e-4
    )
    assert both.hooks["layer_health"].unmoved.shape == (2, 3)
    assert loop.faults(end) == {}


@pytest.mark.thorough
def test_it_changes_nothing_and_keeps_the_laws_of_hooks():
    check_hook(lambda: layer_health(every=1), observes=True)
    check_hook(lambda: layer_histograms(2), observes=True)


def test_parts_of_optax_chains_and_groups_are_seen():
    """In a chain of Optax's, in a frozen optimizer; a frozen parameter has no update."""
    chain = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.05))
    for tx, more in ((chain, ["scale"]), (gradtx.freeze(CHAIN, "w1"), ["scale_by_learning_rate"])):
        loop = small.make(layer_health(tx, every=1, patience=1), tx=tx)
        with jax.numpy_dtype_promotion("standard"):
            logs, state, _ = told(loop, small.start(loop), 1)
        parts = ["clip_by_global_norm", "scale_by_adam", "add_decayed_weights", *more]
        assert all(f"health/share/{part}" in logs[0] for part in parts)
        assert loop.faults(state) == {}
    assert logs[2]["health/update_norm/w1"] == 0 < logs[2]["health/grad_norm/w1"]
    assert logs[2]["health/share/set_to_zero"] == 1


def test_it_measures_what_other_hooks_leave_at_steps_that_are_made():
    """With accumulation one batch in two has a step, and the clipped gradient is measured."""
    hooks = layer_health(CHAIN, every=1), accumulate_gradients(16), clip_gradients(0.25)
    loop = small.make(*hooks, tx=CHAIN)
    logs, state, _ = told(loop, small.start(loop))
    assert [bool(log) for log in logs] == [False, True] * 3
    sizes = [logs[1][f"health/grad_norm/{leaf}"] for leaf in ("w1", "b", "w2")]
    assert norm(sizes) == pytest.approx(0.25, rel=1e-5)
    assert int(state.hooks["layer_health"].count) == 3


def test_warnings_name_the_layer_and_never_end_the_fit():
    """A layer without a gradient, and one with a rate that is far too high."""
    rates = gradtx.by_group(gradtx.label_by(w2="w2", rest="*"), w2=1e4, rest=1e-2)
    cut = lambda params, *rest, **how: small.apply(
        params | {"b": jax.lax.stop_gradient(params["b"])}, *rest, **how
    )
    tx = gradtx.sgd(rates)
    loop = small.make(layer_health(tx, every=1), tx=tx, apply=cut)
    logs, state, _ = told(loop, small.start(loop))
    assert len(logs) == 6
    faults = loop.faults(state)
    assert faults["b has not moved"] == 4  # at the third measurement and those after it
    assert faults["updates of w2 are 100 times its parameters"] >= 1


def test_many_layers_have_one_warning():
    params = {f"w{i}": jnp.zeros(1) for i in range(7)}
    loop = Loop(
        lambda params, state, batch, **how: (batch["x"][:, 0] + 0 * params["w0"], state),
        small.loss,
        gradtx.sgd(0.1),
        hooks=[layer_health(every=1, patience=1)],
    )
    _, state, _ = told(loop, loop.init(params), 1)
    assert loop.faults(state) == {"7 of 7 layers have not moved": 3}


def test_an_optimizer_of_another_loop_is_refused():
    loop = small.make(layer_health(gradtx.sgd(0.1)))
    with pytest.raises(ValueError, match="layer_health: `tx` must be the loop's optimizer; got"):
        small.start(loop)
    tx = optax.chain(optax.sgd(0.1), optax.scale_by_backtracking_linesearch(10))
    loop = small.make(layer_health(tx), tx=tx)
    with pytest.raises(ValueError, match="`tx` must be an optimizer that can be taken apart"):
        small.start(loop)


def test_sown_activations_are_measured():
    """Units that are dead by a bias far below zero; against NumPy's mean and deviation."""
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.relu(nn.Dense(4, name="first")(x))
            self.sow("intermediates", "relu", x)
            return nn.Dense(1, name="last")(x)[:, 0]

    apply = from_linen(Net(), inputs="x", sown="intermediates")
    params = Net().init(jax.random.key(0), BATCHES[0]["x"])["params"]
    params["first"]["bias"] = jnp.array([-1e3, -1e3, -1e3, -1e3]).at[0].set(0)
    state = with_sown(apply, params, None, BATCHES[0])
    tx = gradtx.sgd(1e-3)
    loop = Loop(apply, small.loss, tx, hooks=[layer_health(tx, every=1)])
    logs, end, _ = told(loop, loop.init(params, state), 1)
    first = params["first"]
    x = np.maximum(np.asarray(BATCHES[0]["x"] @ first["kernel"] + first["bias"][None]), 0)
    got = {k.split("/")[1]: v for k, v in logs[0].items() if k.endswith("/relu")}
    want = {"activation_mean": x.mean(), "activation_std": x.std(), "dead": 0.75}
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=1e-5)
    assert got["saturated"] == pytest.approx(np.mean((x >= 0.99 * x.max()) & (x > 0)))
    assert loop.faults(end) == {}
    params["first"]["bias"] = jnp.full(4, -1e3)
    _, end, _ = told(loop, loop.init(params, state), 1)
    assert loop.faults(end)["most units of relu are dead"] == 3
    with pytest.raises(ValueError, match="with_sown: the model must sow into the collection"):
        with_sown(from_linen(nn.Dense(4), inputs="x"), params["first"], None, BATCHES[0])


def test_activation_statistics_of_a_saturated_layer():
    x = jnp.tanh(jnp.array([[9.0, 9.0], [-9.0, 0.1]]))
    mean, std, dead, full = activation_statistics(x).tolist()
    assert (dead, full) == (0, 0.75)
    assert (mean, std) == pytest.approx((float(x.mean()), float(x.std())), rel=1e-6)
    assert activation_statistics(jnp.zeros((3, 2))).tolist() == [0, 0, 1, 0]


def test_histogram_is_that_of_numpy():
    """Also at the edges, where a bin has its lower one; NaN is nowhere, infinity at the ends."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(5000) * 10.0 ** rng.uniform(-10, 4, 5000)).astype(np.float32)
    x = np.concatenate([x, HISTOGRAM_EDGES, [0.0, -0.0]]).astype(np.float32)
    bounds = np.concatenate([[-np.inf], HISTOGRAM_EDGES, [np.inf]])
    np.testing.assert_array_equal(histogram(x), np.histogram(x, bounds)[0])
    ends = histogram(jnp.array([jnp.nan, jnp.inf, -jnp.inf]))
    assert (int(ends[0]), int(ends[-1]), int(ends.sum())) == (1, 1, 2)
    assert int(histogram(jnp.ones(3, jnp.bfloat16)).sum()) == 3
    from gradtx.loop.histogram import _compared, _scattered, histograms

    places = jnp.asarray(rng.integers(0, len(bounds), 999), jnp.int32)  # one too far is in none
    np.testing.assert_array_equal(_compared(places), _scattered(places, len(bounds) - 1))
    both = histograms([jnp.asarray(x[:9]), jnp.full(3, jnp.nan), jnp.asarray(np.tile(x, 4))])
    np.testing.assert_array_equal(both[0], histogram(x[:9]))
    np.testing.assert_array_equal(both[2], 4 * histogram(x))
    assert int(both[1].sum()) == 0


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (3, r"\.sampled: must return \(bool\[\], a dict of arrays by name\); got int"),
        ((True, {"a": "text"}), r"\.sampled: must return"),
        ((True, {"loss": 1.0}), r"`sampled` must have names of its own; got 'loss'"),
    ],
)
def test_what_is_logged_sometimes_is_checked_when_a_state_is_made(out, words):
    loop = small.make(Hook("mine", {}, sampled=lambda state: out))
    with pytest.raises(ValueError, match=words):
        small.start(loop)
