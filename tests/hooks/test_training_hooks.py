"""Hooks that act on the gradient, what it is taken of, or the step that it makes."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradtx
from gradtx import hooks
from gradtx.loop import Request, compose, cross_entropy, fit, take, train_step, with_nan
from tests.loop import small

GOLDEN = json.loads((Path(__file__).parent / "rnn_regularizer.json").read_text())["cases"]
BATCH = take(small.DATA, small.orders()[0, 0])
step = jax.jit(train_step, static_argnums=0)


def call(hook, event, state, context):
    return hook.on[event](state, context)


def plain_state(*more, **how):
    return small.start(small.make(*more, **how))


# --- rnn_regularizer ---


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"batch{c['bs']}-time{c['seq']}")
def test_rnn_regularizer_replays_the_recorded_values(case):
    """Except where the reference tests the batch axis for the time axis: then our own formula."""
    raw, out = (np.asarray(case[name], np.float32) for name in ("raw_out", "out"))
    want = case["loss_grad"]
    if case["bs"] == 1:  # the reference leaves the change out
        want += case["beta"] * float(np.mean(np.diff(raw.astype(np.float64), axis=1) ** 2))
    if case["seq"] == 1:  # the reference has nan, the mean of nothing
        assert want == "nan"
        want = case["base_loss"] + case["alpha"] * float(np.mean(out.astype(np.float64) ** 2))
    hook = hooks.rnn_regularizer(case["alpha"], case["beta"])
    pred = SimpleNamespace(raw=jnp.asarray(raw), dropped=jnp.asarray(out))
    loss = jnp.float32(case["base_loss"])
    seen = small.context(plain_state(), pred=pred, loss=loss, objective=loss)
    _, got = call(hook, "after_loss", (), seen)
    assert float(got.objective) == pytest.approx(want, rel=1e-6)
    assert float(got.loss) == case["base_loss"]
    _, outside = call(
        hook, "after_loss", (), small.context(plain_state(), training=False, pred=pred)
    )
    assert outside.objective is None


def test_rnn_regularizer_takes_means_in_float32():
    big = jnp.full((1, 2, 3), 300.0, jnp.float16)  # the square overflows float16
    pred = SimpleNamespace(raw=big, dropped=big)
    seen = small.context(plain_state(), pred=pred, objective=jnp.zeros(()))
    _, got = call(hooks.rnn_regularizer(1.0, 0.0), "after_loss", (), seen)
    assert float(got.objective) == 90000.0 and got.objective.dtype == jnp.float32


def test_rnn_regularizer_refuses_other_predictions():
    hook = hooks.rnn_regularizer()
    seen = small.context(plain_state(), pred=jnp.zeros((2, 3)), objective=jnp.zeros(()))
    with pytest.raises(ValueError, match=r"rnn_regularizer: the prediction must have `raw`"):
        call(hook, "after_loss", (), seen)
    with pytest.raises(ValueError, match=r"rnn_regularizer: `beta` must not be negative; got -1"):
        hooks.rnn_regularizer(1, -1)


# --- accumulate_gradients ---


def test_accumulation_over_uneven_batches_is_the_step_of_one_large_batch():
    """Batches of 8, 8 and 4 make 20 examples; `examples` is no multiple of any."""
    tx = gradtx.sgd(0.1)
    loop = small.make(hooks.accumulate_gradients(18), tx=tx, apply=frozen_statistics)
    state = small.start(loop)
    parts = [take(small.DATA, jnp.arange(a, b)) for a, b in ((0, 8), (8, 16), (16, 20))]
    first, _ = step(loop, state, parts[0])
    second, _ = step(loop, first, parts[1])
    small.assert_same(second.params, state.params)
    assert float(second.hooks["accumulate_gradients"].examples) == 16
    third, _ = step(loop, second, parts[2])
    whole = take(small.DATA, jnp.arange(20))
    loss = lambda p: jnp.mean(small.loss(frozen_statistics(p, {}, whole)[0], whole))
    want = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, jax.grad(loss)(state.params))
    for name, value in want.items():
        np.testing.assert_allclose(third.params[name], value, rtol=1e-5, atol=1e-6)
    assert int(third.opt_state.count) == 1
    assert float(third.hooks["accumulate_gradients"].examples) == 0
    assert not any(np.any(x) for x in third.hooks["accumulate_gradients"].total.values())


def frozen_statistics(params, model_state, batch, **how):
    return small.apply(params, small.model_state(), batch, key=None, training=False)[0], model_state


def test_accumulation_counts_weights_and_leaves_skipped_batches_out():
    hook = hooks.accumulate_gradients(8)
    state = plain_state()
    memory = hook.init(state)
    grads = jax.tree.map(jnp.ones_like, state.params)
    batch = BATCH | {"weight": jnp.asarray([1.0] * 3 + [0.0] * 5)}
    memory, got = call(hook, "before_step", memory, small.context(state, batch, grads=grads))
    assert float(memory.examples) == 3 and int(got.requested) == Request.SKIP_STEP
    given_up = small.context(state, batch, grads=grads, requested=jnp.int32(Request.SKIP_BATCH))
    after, _ = call(hook, "before_step", memory, given_up)
    small.assert_same(after, memory)
    start, _ = call(hook, "before_fit", memory, small.context(state))
    assert float(start.examples) == 0
    with pytest.raises(ValueError, match=r"accumulate_gradients: `examples` .* got 0"):
        hooks.accumulate_gradients(0)


# --- clip_gradients ---


def test_clipping_is_that_of_optax_and_records_the_norm():
    state = plain_state()
    grads = jax.tree.map(lambda p: jnp.full_like(p, 3.0), state.params)
    hook = hooks.clip_gradients(1.5)
    norm, got = call(hook, "before_step", hook.init(state), small.context(state, grads=grads))
    want, _ = optax.clip_by_global_norm(1.5).update(grads, optax.EmptyState())
    for name, value in want.items():
        np.testing.assert_allclose(got.grads[name], value, rtol=1e-6)
    assert float(norm) == pytest.approx(3.0 * np.sqrt(20), rel=1e-6)
    for bound in (1e3, float("inf")):
        _, same = call(
            hooks.clip_gradients(bound), "before_step", norm, small.context(state, grads=grads)
        )
        small.assert_same(same.grads, grads)
    bad = grads | {"b": jnp.full(4, jnp.inf)}
    _, spoilt = call(hook, "before_step", norm, small.context(state, grads=bad))
    assert all(np.isnan(x).all() for x in jax.tree.leaves(spoilt.grads))
    with pytest.raises(ValueError, match=r"clip_gradients: `max_norm` must be positive; got 0"):
        hooks.clip_gradients(0)


# --- mixup ---


def test_mixup_mixes_inputs_and_labels_alike():
    x = jnp.eye(6, dtype=jnp.float32).reshape(6, 6, 1)  # example i is the i-th unit vector
    batch = {"image": x, "label": jnp.arange(6)}
    hook = hooks.mixup(0.4, classes=6)
    _, got = call(hook, "before_batch", (), small.context(plain_state(), batch))
    np.testing.assert_allclose(got.batch["image"][..., 0], got.batch["label"], rtol=1e-6)
    label = np.asarray(got.batch["label"])
    np.testing.assert_allclose(label.sum(axis=1), 1, rtol=1e-6)
    assert (np.diag(label) >= 0.5).all() and (np.diag(label) < 1).any()
    np.testing.assert_allclose(label.sum(axis=0) - np.diag(label) <= 0.5, True)  # a permutation
    loss = cross_entropy(jnp.zeros((6, 6)), got.batch)
    np.testing.assert_allclose(loss, np.log(6), rtol=1e-6)
    _, outside = call(hook, "before_batch", (), small.context(plain_state(), batch, training=False))
    assert outside.batch is batch


def test_mixup_never_mixes_what_only_fills_up_a_batch():
    weight = jnp.asarray([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    batch = {"image": jnp.where(weight[:, None] > 0, 1.0, jnp.nan), "label": jnp.arange(6)}
    seen = small.context(plain_state(), {k: jnp.nan_to_num(v, nan=9.0) for k, v in batch.items()})
    seen = seen.replace(batch=seen.batch | {"weight": weight})
    _, got = call(hooks.mixup(0.4, classes=6), "before_batch", (), seen)
    np.testing.assert_array_equal(got.batch["image"][:3], 1.0)


def test_mixup_trains_in_a_loop_and_refuses_integers():
    apply = lambda p, s, batch, **how: (batch["image"] @ p["w"], s)
    loop = small.make(hooks.mixup(classes=4), apply=apply, loss=cross_entropy, metrics={})
    state = loop.init({"w": jnp.zeros((3, 4))})
    batch = {"image": small.DATA["x"][:4], "label": jnp.arange(4)}
    new, log = step(loop, state, batch)
    assert float(log["loss"]) == pytest.approx(np.log(4), rel=1e-6)
    assert np.any(new.params["w"] != 0)
    whole = {"image": jnp.zeros((4, 3), jnp.uint8), "label": jnp.arange(4)}
    with pytest.raises(ValueError, match=r"mixup: batch\['image'\] must be floating; got uint8"):
        jax.eval_shape(lambda s: train_step(loop, s, whole), state)
    with pytest.raises(ValueError, match=r"mixup: `alpha` must be positive; got 0"):
        hooks.mixup(0, classes=3)


# --- schedule_hyperparams ---

NO_SCALAR = "^schedule_hyperparams: the schedule of `learning_rate` must return a scalar; got "


def test_a_schedule_lasts_as_long_as_the_fit_and_starts_anew_in_the_next():
    rates = hooks.schedule_hyperparams(learning_rate=lambda n: 0.1 * 0.5 ** n.astype(jnp.float32))
    skip = small.request("after_loss", Request.SKIP_BATCH, 1)
    loop = small.make(rates, skip, tx=gradtx.sgd(0.7))
    state, history = small.run(loop)
    want = 0.1 * 0.5 ** np.arange(2 * small.STEPS)
    np.testing.assert_allclose(history.steps["learning_rate"], want, rtol=1e-6)
    assert float(gradtx.hyperparams(state)["learning_rate"]) == np.float32(0.7)
    state = state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, learning_rate=0.2))
    state, history = small.run(loop, state)
    np.testing.assert_allclose(history.steps["learning_rate"], want, rtol=1e-6)
    assert float(gradtx.hyperparams(state)["learning_rate"]) == np.float32(0.2)


def test_a_schedule_of_optax_and_qualified_names_work():
    tx = gradtx.chain(gradtx.scale_by_rms(0.9), gradtx.ema(0.8))
    schedules = {
        "scale_by_rms.decay": optax.linear_schedule(0.5, 0.9, 10),
        "ema.decay": lambda n: 0.25,
    }
    hook = hooks.schedule_hyperparams(**schedules)
    state = plain_state(tx=tx)
    memory = hook.init(state)
    assert sorted(memory.originals) == sorted(schedules)
    memory, got = call(hook, "before_batch", memory, small.context(state, BATCH))
    values = gradtx.hyperparams(got.opt_state)
    assert float(values["scale_by_rms.decay"]) == pytest.approx(0.5)
    _, back = call(hook, "after_fit", memory, got)
    assert float(gradtx.hyperparams(back.opt_state)["scale_by_rms.decay"]) == np.float32(0.9)


def test_wrong_schedules_are_found_when_the_state_is_made():
    with pytest.raises(ValueError, match=r"`momentom` must name one hyperparameter"):
        plain_state(hooks.schedule_hyperparams(momentom=lambda n: 0.1))
    with pytest.raises(ValueError, match=r"`b1` must be in \[0, 1\); got 2"):
        plain_state(hooks.schedule_hyperparams(b1=lambda n: 2.0))
    for value in ("x", None, jnp.ones(3), 10**400):
        with pytest.raises((TypeError, ValueError), match=NO_SCALAR):
            plain_state(hooks.schedule_hyperparams(learning_rate=lambda n, value=value: value))
    plain_state(hooks.schedule_hyperparams(learning_rate=lambda n: 10**12))
    with pytest.raises(ValueError, match=r"schedule_hyperparams: needs one schedule"):
        hooks.schedule_hyperparams()


# --- loss_scaling ---


def scaler_trace(overflows, interval):
    """PyTorch's rule, in plain Python."""
    scale, good, out = 2.0**16, 0, []
    for overflow in overflows:
        good = 0 if overflow else good + 1
        scale = scale * 0.5 if overflow else scale
        if good == interval:
            scale, good = scale * 2, 0
        out.append((scale, good))
    return out


def test_the_scale_follows_pytorchs_rule():
    overflows = [0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 1]
    hook = hooks.loss_scaling(interval=3)
    state = plain_state()
    memory, got = hook.init(state), []
    for overflow in overflows:
        fill = jnp.inf if overflow else 1.0
        grads = jax.tree.map(lambda p: jnp.full_like(p, fill), state.params)  # noqa: B023
        seen = small.context(state, grads=grads, objective=jnp.ones(()))
        memory, out = call(hook, "after_backward", memory, seen)
        got.append((float(memory.scale), int(memory.good)))
        assert int(out.requested) == (Request.SKIP_BATCH if overflow else 0)
    assert got == scaler_trace(overflows, 3)
    assert int(memory.skipped) == sum(overflows)


def test_scaling_by_a_power_of_two_changes_nothing_in_float32():
    plain, _ = small.run(small.make(), epochs=1)
    scaled, history = small.run(small.make(hooks.loss_scaling()), epochs=1)
    for name, value in plain.params.items():  # other programs, so not bit for bit
        np.testing.assert_allclose(scaled.params[name], value, rtol=1e-5, atol=1e-7)
    assert np.isfinite(history.steps["loss"]).all()


def test_an_overflow_skips_the_batch_bit_for_bit_and_is_not_recorded():
    loop = small.make(hooks.loss_scaling(initial=2.0**127), hooks.terminate_on_nan())
    state = small.start(loop)
    new, log = step(loop, state, BATCH)
    for name in ("params", "opt_state", "model_state"):
        small.assert_same(getattr(new, name), getattr(state, name))
    assert int(log["requested"]) == 0  # not the end: the batch was given up before
    assert float(new.hooks["loss_scaling"].scale) == 2.0**126
    bad = BATCH | {"y": BATCH["y"].at[0].set(jnp.inf)}
    new, log = step(loop, new, bad)
    assert float(new.hooks["loss_scaling"].scale) == 2.0**125
    assert (
        int(new.metrics.count) == 1
        and np.isnan(with_nan(log)["loss"])
        and int(log["requested"]) == 0
    )
    with pytest.raises(ValueError, match=r"loss_scaling: `backoff` must be between 0 and 1"):
        hooks.loss_scaling(backoff=1.0)


def test_the_scale_stays_finite_and_positive():
    hook = hooks.loss_scaling(initial=2.0**127, interval=1)
    state = plain_state()
    memory = hook.init(state)
    seen = small.context(state, grads=state.params, objective=jnp.ones(()))
    memory, _ = call(hook, "after_backward", memory, seen)
    assert float(memory.scale) == 2.0**127
    tiny = memory._replace(scale=jnp.float32(2.0**-24))
    bad = seen.replace(grads=jax.tree.map(lambda p: p * jnp.nan, state.params))
    memory, _ = call(hook, "after_backward", tiny, bad)
    assert float(memory.scale) == 2.0**-24


def overflowing(where, *, scale=None):
    """A fit of ten batches whose losses, or gradients alone, are never finite; and its loop."""
    root = lambda params: jnp.sqrt(jnp.sum(0 * params["b"]))  # 0, with an infinite derivative

    def apply(params, model_state, batch, **how):
        pred, new = small.apply(params, model_state, batch, **how)
        return pred + (root(params) if where == "gradient" else jnp.inf), new

    initial = {} if scale is None else {"initial": scale}
    loop = small.make(hooks.loss_scaling(max_in_a_row=3, **initial), apply=apply)
    batches = [BATCH] * 10
    return loop, *fit(loop, small.start(loop), batches, epochs=1)


@pytest.mark.parametrize(
    ("where", "scale", "steps", "counted"),
    [
        ("loss", None, 3, 3),  # no scale helps
        ("gradient", 2.0**-22, 5, 5),  # two halvings, and three at the smallest
        ("gradient", None, 10, 10),  # the fit is over before the scale is
    ],
)
def test_a_fit_that_never_recovers_has_failed_and_is_counted(where, scale, steps, counted):
    loop, state, history = overflowing(where, scale=scale)
    assert len(history.steps["loss"]) == steps and bool(loop.failed(state))
    assert loop.faults(state)["batches skipped, not finite at any loss scale"] == counted
    falling = loop.faults(state).get("loss scale is falling")
    assert falling == (10 if counted == 10 else None)
    assert f"until step {steps - 1}" in loop.failure(state)
    small.assert_same(state.params, small.params())


def test_overflows_that_a_smaller_scale_helps_are_no_faults():
    loop = small.make(hooks.loss_scaling(initial=2.0**127, max_in_a_row=1))
    state, _ = fit(loop, small.start(loop), [BATCH] * 10, epochs=1)
    scaling = state.hooks["loss_scaling"]
    assert int(scaling.skipped) > 0 and not loop.failed(state)
    assert loop.failure(state) is None and set(loop.faults(state).values()) == {0}


READY = [
    hooks.rnn_regularizer(),
    hooks.loss_scaling(),
    hooks.skip_nonfinite(),
    hooks.terminate_on_nan(),
    hooks.accumulate_gradients(4),
    hooks.clip_gradients(),
    hooks.save_best(),
    hooks.reset_model_state(),
    hooks.ema_params(),
    hooks.reduce_on_plateau(),
    hooks.early_stopping(),
]
# The last may stand anywhere among those before it, and so may the two after `save_best`.
CHAINS = [range(6), (6, 7), (6, 8), (6, 9, 10)]


@given(st.permutations(range(len(READY))))
def test_the_ready_hooks_run_in_the_order_that_makes_sense(places):
    """Unscaled before tested, tested before accumulated, accumulated before clipped.

    And the best is kept as it was validated: before the average goes and the state is reset.
    """
    order = compose([READY[i] for i in places])
    for chain in CHAINS:
        chosen = [READY[i] for i in chain]
        assert [hook for hook in order if hook in chosen] == chosen
