"""What is measured of every layer, and the warnings of it."""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.checkpoint import resume, save
from gradtx.hooks import accumulate_gradients, clip_gradients, layer_health, layer_histograms
from gradtx.hooks.health_measures import said
from gradtx.loop import (
    HISTOGRAM_EDGES,
    Hook,
    Loop,
    Observer,
    Rows,
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
from gradtx.loop.histogram import SHORT, _compared, _scattered, histograms
from gradtx.loop.jitted import prepare
from gradtx.loop.phases import open_epoch, open_fit
from gradtx.parallel import place_batches, shard_state
from gradtx.recipes import fine_tune
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


@cache
def plain_steps(count=6):
    """(gradients, parameters, updates) of each step, without a loop."""

    @jax.jit
    def step(params, opt_state, state, batch):
        def mean(params):
            pred, new = small.apply(params, state, batch, key=None, training=True)
            return small.loss(pred, batch).mean(), new

        grads, state_after = jax.grad(mean, has_aux=True)(params)
        updates, opt_state = CHAIN.update(grads, opt_state, params)
        return grads, updates, opt_state, state_after, optax.apply_updates(params, updates)

    params, opt_state, state = small.params(), CHAIN.init(small.params()), small.model_state()
    steps = []
    for i in range(count):
        grads, updates, opt_state, state, after = step(params, opt_state, state, BATCHES[i % 3])
        steps.append((grads, params, updates))
        params = after
    return steps


def test_norms_and_counts_are_those_of_a_training_without_a_loop(run):
    _, _, logs, _, _ = run
    for i, (grads, params, updates) in enumerate(plain_steps()):
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
    grads, params, _ = plain_steps()[0]
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


@pytest.mark.thorough
def test_the_compiled_fit_and_populations_say_the_same(run):
    loop, state, logs, want, _ = run
    orders = jnp.concatenate([small.orders(1)] * 2)
    end, got, _ = jax.jit(lambda state: compiled_fit(loop, state, small.DATA, orders))(state)
    assert_close(end.hooks, want.hooks)
    assert_told(sampled(loop, state, got), logs)
    assert loop.faults(end) == {}
    many = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    for how in ("map", "vmap"):
        both, more, _ = jax.jit(partial(population, loop, how=how))(many, small.DATA, orders)
        for i in range(2):
            assert_close(jax.tree.map(lambda x, i=i: x[i], both.hooks), want.hooks)
            values = sampled(loop, state, more)
            assert_told({name: x[i] for name, x in values.items()}, logs)


@pytest.mark.thorough
def test_a_fit_that_goes_on_from_a_checkpoint_is_the_whole_fit_by_the_bit(run, tmp_path):
    """Saved after the fourth of six steps, between two measurements, and in the second epoch."""
    loop, state, logs, want, history = run
    epoch = lambda epoch, start: iter(BATCHES[start:])
    told = []

    def keep(report):
        told.append(health_of(report.log))
        if report.step == 4:
            save(tmp_path, report.state, step=4)

    seen = Observer({"after_batch": keep}, reads=lambda step: step == 4)
    how = {"epochs": 2, "observers": [seen], "steps_per_execution": 1}
    fit(loop, state, epoch, **how)
    told = told[:4]  # the rest comes from the checkpoint
    end, again = fit(loop, state, epoch, resume=resume(tmp_path), **how)
    small.assert_same(end, want)
    assert [*map(set, told)] == [*map(set, logs)]
    for one, other in zip(told, logs, strict=True):
        small.assert_same(one, other)
    assert [*again.samples] == [name for name, x in history.samples.items() if 4 in x]


@pytest.mark.thorough
def test_on_a_mesh_of_two_devices_it_says_the_same(run):
    loop, state, logs, want, _ = run
    mesh = jax.make_mesh((1, 2), ("data", "fsdp"), devices=jax.devices()[:2])
    told, got = [], shard_state(state, mesh)
    keep = Observer({"after_batch": lambda r: told.append(health_of(r.log))}, reads=never)
    got, _ = fit(loop, got, place_batches(BATCHES, mesh), epochs=2, observers=[keep])
    assert_close(got.hooks, want.hooks)
    assert [*map(set, told)] == [*map(set, logs)]
    for one, other in zip(told, logs, strict=True):
        assert_told({name: [value] for name, value in one.items()}, [other])


def health_of(log):
    return {name: value for name, value in log.items() if "health" in name}


def assert_close(got, want):
    """Norms to rounding, counts to two numbers that lie at an edge."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        if jnp.ndim(a) == 3:
            assert np.abs(np.asarray(a) - np.asarray(b)).sum() <= 4
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def assert_told(values, logs):
    """Values with a leading axis for each step, or two, are those of the logs."""
    for name, value in values.items():
        shape = np.shape(next(log[name] for log in logs if name in log))
        steps = np.reshape(value, (len(logs), *shape))
        for got, log in zip(steps, logs, strict=True):
            if name not in log:
                assert np.isnan(got).all()
            elif shape:
                assert np.abs(got - np.asarray(log[name])).sum() <= 4
            else:
                assert got == pytest.approx(log[name], rel=1e-4, abs=1e-6)


@pytest.mark.thorough
def test_it_changes_nothing_and_keeps_the_laws_of_hooks():
    check_hook(lambda: layer_health(every=1), observes=True)
    check_hook(lambda: layer_histograms(2), observes=True)


FROZEN = {
    "gradtx": gradtx.freeze(CHAIN, "w1"),
    "optax": optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(0.05),
        optax.masked(optax.set_to_zero(), {"w1": True, "b": False, "w2": False}),
    ),
}


@pytest.mark.parametrize("package", FROZEN)
def test_parts_of_optax_chains_and_groups_are_seen_and_what_is_frozen(package):
    loop = small.make(layer_health(FROZEN[package]), tx=FROZEN[package])
    with jax.numpy_dtype_promotion("standard"):
        state = small.start(loop).hooks["layer_health"]
    assert {"clip_by_global_norm", "scale_by_adam", "add_decayed_weights"} < set(state.parts)
    assert dict(zip(state.layers, state.trained, strict=True)) == {
        "b": True,
        "w1": False,
        "w2": True,
    }


@pytest.mark.thorough
@pytest.mark.parametrize("package", FROZEN)
def test_what_is_frozen_has_no_update_and_no_warning(package):
    tx = FROZEN[package]
    loop = small.make(layer_health(tx, every=1, patience=1), tx=tx)
    with jax.numpy_dtype_promotion("standard"):
        logs, state, _ = told(loop, small.start(loop), 1)
    assert logs[2]["health/update_norm/w1"] == 0 < logs[2]["health/grad_norm/w1"]
    assert loop.faults(state) == {}


@pytest.mark.thorough
def test_what_fine_tune_freezes_is_expected_to_move_afterwards():
    """No warning in the frozen part; a layer that the model cuts off has one in both."""
    cut = lambda params, *rest, **how: small.apply(
        params | {"b": jax.lax.stop_gradient(params["b"])}, *rest, **how
    )
    groups = gradtx.label_by(body="w1", head="*")
    tx = gradtx.adam(gradtx.by_group(groups, body=1e-3, head=1e-3))
    loop = small.make(layer_health(tx, every=1, patience=2), tx=tx, apply=cut)
    state = small.start(loop)
    options = {"groups": groups, "freeze_epochs": 2, "epochs": 1}
    end, history = fine_tune(loop, state, BATCHES, **options)
    assert loop.faults(end) == {"b has not moved": 8}
    assert end.hooks["layer_health"].trained == state.hooks["layer_health"].trained
    still = history.steps["health/update_norm/w1"]
    assert not still[:6].any() and still[6:].all()


@pytest.mark.thorough
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
    words = {"one": lambda x: f"{x} has not moved", "many": "have not moved"}
    names = [f"w{i}" for i in range(8)]
    assert said([0, 2, 0, 1, 0, 0, 0, 0], names, **words) == {
        "w1 has not moved": 2,
        "w3 has not moved": 1,
    }
    assert said([3] * 7 + [0], names, **words) == {"7 of 8 layers have not moved": 3}


def test_an_optimizer_of_another_loop_is_refused():
    loop = small.make(layer_health(gradtx.sgd(0.1)))
    with pytest.raises(ValueError, match="layer_health: `tx` must be the loop's optimizer; got"):
        small.start(loop)
    tx = optax.chain(optax.sgd(0.1), optax.scale_by_backtracking_linesearch(10))
    loop = small.make(layer_health(tx), tx=tx)
    with pytest.raises(ValueError, match="`tx` must be an optimizer that can be taken apart"):
        small.start(loop)


@pytest.mark.thorough  # docs/hooks.md has a smaller one
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
    state = with_sown(apply, params, None, Rows(BATCHES[0], jnp.arange(small.BATCH)))
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
    end, _ = fit(loop, loop.init(params, state), BATCHES, epochs=1)
    assert loop.faults(end)["most units of relu are dead"] == 3
    with pytest.raises(ValueError, match="with_sown: the model must sow into the collection"):
        with_sown(from_linen(nn.Dense(4), inputs="x"), params["first"], None, BATCHES[0])


def test_activation_statistics_of_a_saturated_layer():
    x = jnp.tanh(jnp.array([[9.0, 9.0], [-9.0, 0.1]]))
    mean, std, dead, full = jax.jit(activation_statistics)(x).tolist()
    assert (dead, full) == (0, 0.75)
    assert (mean, std) == pytest.approx((float(x.mean()), float(x.std())), rel=1e-6)
    assert jax.jit(activation_statistics)(jnp.zeros((2, 2))).tolist() == [0, 0, 1, 0]


NUMBERS = np.random.default_rng(0).standard_normal(999) * 10.0 ** np.linspace(-10, 4, 999)
NUMBERS = np.concatenate([NUMBERS, HISTOGRAM_EDGES, [0.0, -0.0]]).astype(np.float32)
BOUNDS = np.concatenate([[-np.inf], HISTOGRAM_EDGES, [np.inf]])


def test_histogram_is_that_of_numpy():
    """Also at the edges, where a bin has its lower one; NaN is nowhere, infinity at the ends."""
    odd = np.float32([np.nan, np.inf, -np.inf])
    many = np.tile(NUMBERS, 16)
    assert many.size > SHORT > NUMBERS.size
    got = jax.jit(histograms)([NUMBERS, odd, many, jnp.ones(3, jnp.bfloat16)])
    want = np.histogram(NUMBERS, BOUNDS)[0]
    np.testing.assert_array_equal(got[0], want)
    np.testing.assert_array_equal(got[2], 16 * want)
    assert (int(got[1][0]), int(got[1][-1]), int(got[1].sum())) == (1, 1, 2)
    assert int(got[3].sum()) == 3


@pytest.mark.thorough
def test_both_ways_to_count_are_the_same():
    np.testing.assert_array_equal(histogram(NUMBERS), np.histogram(NUMBERS, BOUNDS)[0])
    places = jnp.asarray(np.random.default_rng(1).integers(0, len(BOUNDS), 999), jnp.int32)
    np.testing.assert_array_equal(_compared(places), _scattered(places, len(BOUNDS) - 1))
    size = histogram(np.complex64([3 + 4j]))  # 5
    assert int(size.argmax()) == np.searchsorted(HISTOGRAM_EDGES, 5)


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


def test_a_step_that_may_be_measured_copies_no_moments():
    """XLA would, each time, if the step could come before the measuring."""
    size, hooks = 1920, [layer_health(CHAIN), layer_histograms()]
    model = lambda p, state, batch, *, key, training: (batch["x"] @ p["a"] @ p["b"], state)
    params = {"a": jnp.ones((3, size)), "b": jnp.ones((size, 3))}
    loop = Loop(model, lambda pred, batch: pred.mean(axis=1), CHAIN, {}, hooks)
    state = loop.init(params)
    run, state = prepare(loop, state)
    state = open_epoch(loop, open_fit(loop, state))
    step = run.train_step.lower(state, BATCHES[0]).compile().as_text()
    assert "conditional(" in step
    moments = rf"= f32\[(?:3,{size}|{size},3)\]\S* copy\(%args_0__opt_state.*"
    assert not re.findall(moments, step)
