"""Recipes against fastai's formulas in float64 NumPy, and what they leave as it was."""

import contextlib
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.loop import Hook, Loop, Observer, Request, fit
from gradtx.optimizers.presets import fastai_adam
from gradtx.recipes import fine_tune, fit_flat_cos, fit_one_cycle, fit_sgdr
from gradtx.tuning import lr_find

RNG = np.random.default_rng(0)
STEPS = 6
INPUTS = RNG.normal(size=(STEPS, 4, 3)).astype(np.float32)
TARGETS = INPUTS.sum(-1) + RNG.normal(size=(STEPS, 4)).astype(np.float32)
BATCHES = [{"x": jnp.asarray(x), "y": jnp.asarray(y)} for x, y in zip(INPUTS, TARGETS, strict=True)]
START = np.array([0.5, -0.5, 0.25])
FAST = {"learning_rate": 0.1, "momentum": None}  # for an optimizer without momentum


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], model_state


def squares(pred, batch):
    return jnp.square(pred - batch["y"])


def make(tx, hooks=()):
    loop = Loop(apply, squares, tx, hooks=hooks)
    return loop, loop.init({"w": jnp.asarray(START, jnp.float32)})


def cosine(a, b, x):
    return a + (1 + np.cos(np.pi * (1 - x))) * (b - a) / 2


def cycle(position, warmup, first, middle, last):
    if position < warmup:
        return cosine(first, middle, position / warmup)
    return cosine(middle, last, (position - warmup) / (1 - warmup))


def one_cycle_values(n, *, peak, div=25.0, final=1e5, warmup=0.25, momentum=(0.95, 0.85, 0.95)):
    rates = [cycle(k / n, warmup, peak / div, peak, peak / final) for k in range(n)]
    return rates, [cycle(k / n, warmup, *momentum) for k in range(n)]


def gradient(w, k):
    x, y = INPUTS[k % STEPS].astype(float), TARGETS[k % STEPS].astype(float)
    return 2 * x.T @ (x @ w - y) / len(y)


def numpy_sgd(rates, momenta):
    w, average = START.copy(), 0.0
    for k, (rate, momentum) in enumerate(zip(rates, momenta, strict=True)):
        average = momentum * average + gradient(w, k)
        w = w - rate * average
    return w


def numpy_adam(rates, momenta, *, b2=0.99, eps=1e-5, decay=0.01):
    w, mean, square = START.copy(), 0.0, 0.0
    for k, (rate, b1) in enumerate(zip(rates, momenta, strict=True)):
        g = gradient(w, k)
        w = w * (1 - rate * decay)
        mean = b1 * mean + (1 - b1) * g
        square = b2 * square + (1 - b2) * g * g
        # fastai debiases with the momentum of this step, not with the product of all.
        step = mean / (1 - b1 ** (k + 1)) / (np.sqrt(square / (1 - b2 ** (k + 1))) + eps)
        w = w - rate * step
    return w


@pytest.mark.parametrize(
    "tx, reference, peak, name",
    [
        (gradtx.sgd(0.5, 0.9), numpy_sgd, 0.02, "momentum"),
        (fastai_adam(0.5), numpy_adam, 0.1, "b1"),
    ],
)
def test_one_cycle_is_the_reference_trajectory(tx, reference, peak, name):
    rates, momenta = one_cycle_values(18, peak=peak)
    loop, state = make(tx)
    state, history = fit_one_cycle(loop, state, BATCHES, epochs=3, learning_rate=peak)
    np.testing.assert_allclose(history.steps["learning_rate"], rates, rtol=2e-5)
    np.testing.assert_allclose(history.steps[name], momenta, rtol=1e-6)
    np.testing.assert_allclose(state.params["w"], reference(rates, momenta), rtol=2e-5)


def test_flat_cos_is_the_reference_trajectory_and_leaves_momentum():
    rates = [0.02 if k / 12 < 0.75 else cosine(0.02, 2e-7, (k / 12 - 0.75) * 4) for k in range(12)]
    loop, state = make(gradtx.sgd(0.5, 0.9))
    state, history = fit_flat_cos(loop, state, BATCHES, epochs=2, learning_rate=0.02)
    np.testing.assert_allclose(history.steps["learning_rate"], rates, rtol=1e-5)
    np.testing.assert_allclose(state.params["w"], numpy_sgd(rates, [0.9] * 12), rtol=2e-5)


@pytest.mark.parametrize(("cycles", "length", "mult"), [(2, 1, 2), (3, 1, 1), (2, 2, 3)])
def test_sgdr_is_the_reference_trajectory_and_leaves_momentum(cycles, length, mult):
    """fastai's SchedCos(lr, 0) over each cycle, by whole batches and not by float32 positions."""
    lengths = [STEPS * length * mult**i for i in range(cycles)]
    rates = [cosine(0.02, 0.0, k / n) for n in lengths for k in range(n)]
    loop, state = make(gradtx.sgd(0.5, 0.9))
    options = {"cycles": cycles, "cycle_len": length, "cycle_mult": mult, "learning_rate": 0.02}
    after, history = fit_sgdr(loop, state, BATCHES, **options)
    assert len(history.rows) == sum(lengths) // STEPS
    np.testing.assert_allclose(history.steps["learning_rate"], rates, rtol=1e-5, atol=1e-9)
    momenta = [0.9] * len(rates)
    np.testing.assert_allclose(after.params["w"], numpy_sgd(rates, momenta), rtol=1e-4)
    assert float(gradtx.hyperparams(after.opt_state)["learning_rate"]) == 0.5


def test_sgdr_needs_whole_cycles_of_whole_epochs():
    loop, state = make(gradtx.sgd(0.5))
    for name in ("cycles", "cycle_len", "cycle_mult"):
        options = {"cycles": 1, "learning_rate": 0.1}
        with pytest.raises(ValueError, match=f"fit_sgdr: `{name}` must be at least 1, .*; got 0"):
            fit_sgdr(loop, state, BATCHES, **options | {name: 0})
        with pytest.raises(TypeError, match=f"fit_sgdr: `{name}` must be a whole number; got flo"):
            fit_sgdr(loop, state, BATCHES, **options | {name: 1.5})


@pytest.mark.parametrize(
    "recipe, name, value",
    [
        (fit_one_cycle, "epochs", True),
        (fit_one_cycle, "epochs", 0),
        (fit_one_cycle, "learning_rate", "fast"),
        (fit_one_cycle, "learning_rate", {"body": "fast"}),
        (fit_one_cycle, "momentum", 0.9),
        (fit_one_cycle, "div", 0),
        (fit_one_cycle, "steps_per_epoch", 5.5),
        (fit_flat_cos, "div_final", float("nan")),
        (fit_flat_cos, "weight_decay", [0.1]),
        (fit_flat_cos, "flat", 1.5),
        (fit_sgdr, "learning_rate", None),
        (fine_tune, "groups", "body"),
        (fine_tune, "ratio", 0.0),
        (fine_tune, "freeze_epochs", 0),
    ],
)
def test_a_recipe_refuses_what_it_can_not_use_before_it_begins(recipe, name, value):
    loop, state = make_deep()
    options = {"learning_rate": 0.1, ("cycles" if recipe is fit_sgdr else "epochs"): 1}
    options |= {"groups": GROUPS} if recipe is fine_tune else {}
    where = f"^{recipe.__name__}: `{name}` must be .*; got "
    with pytest.raises((TypeError, ValueError), match=where):
        recipe(loop, state, BATCHES, **options | {name: value})
    with pytest.raises(TypeError, match=f"^{recipe.__name__}: `state` must be a TrainState"):
        recipe(loop, {}, BATCHES, **options)


def test_hyperparameters_are_the_fits_own():
    loop, state = make(fastai_adam(0.5, weight_decay=0.2))
    options = {"epochs": 1, "learning_rate": 0.1, "weight_decay": 0.3}
    after, history = fit_one_cycle(loop, state, BATCHES, **options)
    np.testing.assert_allclose(history.steps["weight_decay"], np.float32(0.3))
    values = {name: float(x) for name, x in gradtx.hyperparams(after.opt_state).items()}
    assert values == {n: float(x) for n, x in gradtx.hyperparams(state.opt_state).items()}
    assert after.hooks == {} and int(after.step) == STEPS
    assert jax.tree.structure(after) == jax.tree.structure(state)
    # A second fit begins its schedule anew, and goes on with the moments.
    _, again = fit_one_cycle(loop, after, BATCHES, **options)
    np.testing.assert_array_equal(again.steps["learning_rate"], history.steps["learning_rate"])


def test_a_fit_that_is_ended_early_puts_hyperparameters_back():
    stop = Hook("stop", {"after_step": lambda s, m: (s, m.request(Request.END_FIT, m.step == 2))})
    loop, state = make(gradtx.sgd(0.5), hooks=[stop])
    after, history = fit_one_cycle(loop, state, BATCHES, epochs=2, **FAST)
    assert len(history.steps["loss"]) == 3
    assert float(gradtx.hyperparams(after.opt_state)["learning_rate"]) == 0.5


def test_an_interrupted_recipe_goes_on_in_its_place():
    loop, state = make(gradtx.sgd(0.5, 0.9))
    saved = []

    def keep(report):
        if report.epoch == 1 and report.batch == 2:
            saved.append(jax.tree.map(jnp.copy, report.state))

    options = {"epochs": 3, "learning_rate": 0.02}
    observers = [Observer({"after_batch": keep})]
    whole, _ = fit_one_cycle(loop, state, BATCHES, observers=observers, **options)
    resumed, history = fit_one_cycle(loop, saved[0], BATCHES, **options)
    assert len(history.steps["loss"]) == 18 - 8
    np.testing.assert_array_equal(resumed.params["w"], whole.params["w"])
    assert float(gradtx.hyperparams(resumed.opt_state)["learning_rate"]) == 0.5
    with pytest.raises(ValueError, match=r"fit_one_cycle: a state in the middle of a fit must"):
        fit_one_cycle(loop, loop.without_hooks(saved[0]), BATCHES, **options)


NONE_DECLARED = r"^fit_one_cycle: `momentum` needs a hyperparameter that is declared as one; got"
CHAINS = {
    "lion": (gradtx.lion(0.5), ["b1"]),
    "muon": (gradtx.muon(0.5), ["b1", "beta"]),
    "signum": (gradtx.signum(0.5), ["decay"]),
    "rmsprop": (gradtx.rmsprop(0.5, momentum=0.9), ["momentum"]),
    "an average before a root": (
        gradtx.chain(gradtx.ema(0.9), gradtx.scale_by_rms(0.9), gradtx.scale_by_learning_rate(0.5)),
        ["ema.decay"],
    ),
    "averaged parameters": (gradtx.chain(gradtx.sgd(0.5), gradtx.ema_params(0.9)), []),
}


@pytest.mark.parametrize("name", CHAINS)
def test_one_cycle_moves_every_momentum_and_nothing_else(name):
    tx, moved = CHAINS[name]
    _, momenta = one_cycle_values(STEPS, peak=1e-3)
    loop, state = make(tx)
    before = gradtx.hyperparams(state.opt_state)
    with contextlib.nullcontext() if moved else pytest.warns(UserWarning, match=NONE_DECLARED):
        after, history = fit_one_cycle(loop, state, BATCHES, epochs=1, learning_rate=1e-3)
    for key in set(before) - {"learning_rate"}:
        want = momenta if key in moved else before[key]
        np.testing.assert_allclose(history.steps[key], want, rtol=1e-6)
    assert set(moved) <= set(before)
    assert gradtx.hyperparams(after.opt_state) == before


def test_momentum_stays_where_none_is_given():
    loop, state = make(gradtx.signum(0.5, 0.8))
    options = {"epochs": 1, "learning_rate": 1e-3, "momentum": None}
    _, history = fit_one_cycle(loop, state, BATCHES, **options)
    np.testing.assert_array_equal(history.steps["decay"], np.float32(0.8))


def test_plain_sgd_has_no_momentum_to_move():
    loop, state = make(gradtx.sgd(0.5))
    with pytest.warns(UserWarning, match=f"{NONE_DECLARED} .* among learning_rate") as caught:
        _, history = fit_one_cycle(loop, state, BATCHES, epochs=1, learning_rate=0.1)
    assert [warning.filename for warning in caught] == [__file__]
    assert "momentum" not in history.steps
    loop, state = make_deep()  # through one recipe into another, too
    loop = replace(loop, tx=gradtx.sgd(gradtx.by_group(GROUPS, body=0.5, head=0.5)))
    with pytest.warns(UserWarning, match=NONE_DECLARED) as caught:
        fine_tune(loop, loop.init(state.params), BATCHES, groups=GROUPS, epochs=1)
    assert {warning.filename for warning in caught} == {__file__}
    loop, state = make(gradtx.sgd(0.5))
    fit_one_cycle(loop, state, BATCHES, epochs=1, **FAST)


@pytest.mark.parametrize("recipe", [fit_one_cycle, fit_flat_cos])
def test_steps_per_epoch_must_be_right(recipe):
    loop, state = make(gradtx.sgd(0.5))
    with pytest.raises(ValueError, match="must be the number of batches; got 5 for 6"):
        recipe(loop, state, BATCHES, epochs=1, learning_rate=0.1, steps_per_epoch=5)
    with pytest.raises(ValueError, match="must be given where `train` has no length"):
        recipe(loop, state, lambda epoch, start: BATCHES[start:], epochs=1, learning_rate=0.1)


def test_what_is_scheduled_must_be_a_number_in_the_optimizer():
    loop, state = make(gradtx.sgd(gradtx.schedules.linear(0.1, 0.0, 10)))
    with pytest.raises(ValueError, match="`learning_rate` follows a schedule"):
        fit_one_cycle(loop, state, BATCHES, epochs=1, **FAST)
    loop, state = make(gradtx.sgd(0.5))
    with pytest.raises(ValueError, match="`weight_decay` must name one hyperparameter"):
        fit_one_cycle(loop, state, BATCHES, epochs=1, weight_decay=0.1, **FAST)


# Fine-tuning: two layers, a norm's gain in the first.

GROUPS = gradtx.label_by(body="body/*", head="head/*")


def deep(params, model_state, batch, *, key, training):
    body = params["body"]
    hidden = jnp.tanh(batch["x"] @ body["kernel"]) * body["scale"][None]
    return hidden @ params["head"]["kernel"], model_state


def make_deep(rate=None, hooks=()):
    rate = gradtx.by_group(GROUPS, body=0.5, head=0.5) if rate is None else rate
    loop = Loop(deep, squares, gradtx.adamw(rate, weight_decay=0.1), hooks=hooks)
    keys = jax.random.split(jax.random.key(0))
    return loop, loop.init(
        {
            "body": {"kernel": jax.random.normal(keys[0], (3, 5)), "scale": jnp.ones(5)},
            "head": {"kernel": jax.random.normal(keys[1], (5,))},
        }
    )


def test_fine_tune_trains_the_head_alone_and_then_all():
    counts = Hook("counts", {}, sampled=lambda state: (True, {"counts": jnp.ones(2)}))
    loop, state = make_deep(hooks=[counts])
    seen = []
    watch = Observer({"after_epoch": lambda r: seen.append(jax.tree.map(np.array, r.state.params))})
    after, history = fine_tune(
        loop, state, BATCHES, groups=GROUPS, epochs=2, learning_rate=0.04, observers=[watch]
    )
    frozen, _, _ = seen
    np.testing.assert_array_equal(frozen["body"]["kernel"], state.params["body"]["kernel"])
    assert np.all(frozen["head"]["kernel"] != np.asarray(state.params["head"]["kernel"]))
    assert np.all(frozen["body"]["scale"] != 1)  # norms train throughout
    assert np.all(np.asarray(after.params["body"]["kernel"]) != frozen["body"]["kernel"])

    head = one_cycle_values(6, peak=0.04, warmup=0.99)[0]
    head += one_cycle_values(12, peak=0.02, div=5, warmup=0.3)[0]
    body = np.array(head) * np.array([0.1] * 6 + [0.01] * 12)
    rates = history.steps["learning_rate"]
    np.testing.assert_allclose(rates["head"], head, rtol=2e-5)
    np.testing.assert_allclose(rates["body"], body, rtol=2e-5)
    assert [row["epoch"] for row in history.rows] == [0, 0, 1]
    values = gradtx.hyperparams(after.opt_state)["learning_rate"]
    assert {group: float(x) for group, x in values.items()} == {"body": 0.5, "head": 0.5}
    # The second part began with the moments that were given: none.
    assert int(after.opt_state.count) == 12 and after.hooks == {"counts": ()}
    assert [*history.samples["counts"]] == [*range(18)]  # of both parts


def test_fine_tune_can_freeze_norms_too():
    loop, state = make_deep()
    stop = Hook("stop", {"after_epoch": lambda s, m: (s, m.request(Request.END_FIT))})
    loop, state = loop.with_hooks(state, [stop])
    after, history = fine_tune(
        loop, state, BATCHES, groups=GROUPS, epochs=2, freeze_epochs=2, never_frozen=None
    )
    np.testing.assert_array_equal(after.params["body"]["scale"], 1)
    assert len(history.rows) == 1  # the first part was ended, so the second did not run


ENDS = {  # where a request in the last frozen epoch leaves the steps of one part, of both
    "before_train": 0,
    "before_validate": 6,
    "after_epoch": 6,
    "after_update": 1,
}


@pytest.mark.parametrize("event", ENDS)
def test_fine_tune_is_over_wherever_its_first_part_was_asked_to_end(event):
    ask = lambda state, context: (state, context.request(Request.END_FIT))
    loop, state = make_deep(hooks=[Hook("stop", {event: ask})])
    after, history = fine_tune(loop, state, BATCHES, BATCHES[:1], groups=GROUPS, epochs=2)
    assert len(history.rows) == 1 and len(history.steps.get("loss", [])) == ENDS[event]
    np.testing.assert_array_equal(after.params["body"]["kernel"], state.params["body"]["kernel"])
    assert list(after.hooks) == ["stop"]


def test_fine_tune_joins_a_part_without_a_step():
    """An epoch that ends before its first batch has no log, but the fit goes on."""
    skip = lambda state, context: (
        state + 1,
        context.request(Request.END_EPOCH, state == 0),
    )
    hook = Hook("skip", {"before_epoch": skip}, lambda state: jnp.zeros((), jnp.int32))
    loop, state = make_deep(hooks=[hook])
    _, history = fine_tune(loop, state, BATCHES, groups=GROUPS, epochs=1)
    assert len(history.rows) == 2 and len(history.steps["loss"]) == 6


def test_fine_tune_needs_a_learning_rate_by_group_and_a_fit_that_has_not_begun():
    loop, state = make_deep(rate=0.1)
    with pytest.raises(ValueError, match=r"fine_tune: the learning rate must be by `groups`"):
        fine_tune(loop, state, BATCHES, groups=GROUPS, epochs=1)
    loop, state = make_deep()
    with pytest.raises(ValueError, match="must not be in the middle of a fit"):
        fine_tune(loop, state.replace(level=jnp.int32(3)), BATCHES, groups=GROUPS, epochs=1)


def test_rates_by_group():
    loop, state = make_deep()
    rates = {"body": 0.01, "head": 0.1}
    _, history = fit_flat_cos(loop, state, BATCHES, epochs=1, learning_rate=rates)
    assert float(history.steps["learning_rate"]["body"][0]) == np.float32(0.01)
    assert float(history.steps["learning_rate"]["head"][0]) == np.float32(0.1)


@pytest.mark.parametrize("recipe", [fit_one_cycle, fit_flat_cos])
def test_decay_by_group(recipe):
    """A number leaves the groups alone that have none, as norms and biases in fastai."""
    groups = gradtx.label_by(none="*/scale", some="*")
    decay = gradtx.by_group(groups, none=0.0, some=0.01)
    loop, state = make_deep()
    loop = replace(loop, tx=fastai_adam(0.1, weight_decay=decay))
    state = loop.init(state.params)
    for given, want in [(0.5, (0.0, 0.5)), ({"none": 0.25, "some": 0.5}, (0.25, 0.5))]:
        options = {"epochs": 1, "learning_rate": 0.1, "weight_decay": given}
        _, history = recipe(loop, state, BATCHES, **options)
        used = history.steps["weight_decay"]
        assert [float(used[group][0]) for group in ("none", "some")] == list(want)


def test_the_given_state_can_be_used_again():
    loop, state = make(gradtx.sgd(0.5, 0.9))
    first, _ = fit_one_cycle(loop, state, BATCHES, epochs=1, learning_rate=0.02)
    second, _ = fit_one_cycle(loop, state, BATCHES, epochs=1, learning_rate=0.02)
    np.testing.assert_array_equal(first.params["w"], second.params["w"])
    fit(loop, state, BATCHES, epochs=1)


def test_a_fit_with_equal_arguments_compiles_nothing_anew():
    """Neither a recipe nor lr_find: their hooks and schedules are made again, but are alike."""
    traces = []

    def counted(pred, batch):
        traces.append(1)
        return squares(pred, batch)

    loop, state = make_deep()
    loop = replace(loop, loss=counted)
    rates = {"body": 0.1, "head": 0.2}
    calls = [
        lambda: fit_one_cycle(loop, state, BATCHES, epochs=1, learning_rate=0.1, weight_decay=0.1),
        lambda: fit_flat_cos(loop, state, BATCHES, epochs=1, learning_rate=rates),
        lambda: fine_tune(loop, state, BATCHES, groups=GROUPS, epochs=1),
        lambda: lr_find(loop, state, BATCHES, steps=10),
    ]
    for call in calls:
        call()
        before = len(traces)
        call()
        assert len(traces) == before
