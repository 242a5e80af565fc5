"""lr_find against a float64 re-implementation in NumPy, and its rules against fastai's."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradtx
from gradtx.hooks import early_stopping, reduce_on_plateau, save_best
from gradtx.loop import Hook, Loop, Request, fit
from gradtx.tuning.lr_find import (
    LrFind,
    lr_find,
    minimum,
    slide,
    steep,
    suggest,
    usable,
    valley,
)

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(7, 4, 3)).astype(np.float32)
TARGETS = INPUTS.sum(-1) + RNG.normal(size=(7, 4)).astype(np.float32)
BATCHES = [{"x": jnp.asarray(x), "y": jnp.asarray(y)} for x, y in zip(INPUTS, TARGETS, strict=True)]


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], {"seen": model_state["seen"] + 1}


def squares(pred, batch):
    return jnp.square(pred - batch["y"])


def make(tx=None, hooks=()):
    loop = Loop(apply, squares, gradtx.sgd(0.1) if tx is None else tx, hooks=hooks)
    state = loop.init({"w": jnp.zeros(3)}, {"seen": jnp.zeros((), jnp.int32)})
    return loop, state


def numpy_sweep(*, start=1e-7, end=10.0, steps=100, stop=4.0):
    """SGD on the batches above, by hand."""
    w, average, best, height, out = np.zeros(3), 0.0, np.inf, 0.0, []
    for i in range(steps):
        rate = start * (end / start) ** (i / steps)
        x, y = INPUTS[i % 7].astype(float), TARGETS[i % 7].astype(float)
        error = x @ w - y
        w = w - rate * 2 * x.T @ error / len(y)
        loss = np.mean(error**2)
        average = 0.98 * average + 0.02 * loss
        smooth = average / (1 - 0.98 ** (i + 1))
        out.append((rate, smooth, loss))
        if smooth < best or i < 10:
            raw = [loss for _, _, loss in out]
            height = np.mean(raw) - np.min(raw)
        best = min(best, smooth)
        if smooth - best > (stop - 1) * height:
            break
    return np.array(out).T


def test_sweep_is_the_reference_trajectory_and_stops_where_it_does():
    rates, losses, raw = numpy_sweep()
    assert 50 < len(rates) < 100  # it blows up, over several epochs of 7 batches
    found = lr_find(*make(), BATCHES)
    np.testing.assert_allclose(found.learning_rates, rates, rtol=1e-12)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(found.raw_losses, raw, rtol=1e-4)
    wanted = suggest(rates, losses, 100)
    assert found.suggestions == pytest.approx(wanted, rel=1e-12)
    assert 1e-3 < found.suggestions["valley"] < 1


@pytest.mark.parametrize("constant", [-1000.0, -3.0, 100.0])
def test_a_constant_added_to_the_loss_changes_no_decision(constant):
    plain = lr_find(*make(), BATCHES)
    loop, state = make()
    shifted = replace(loop, loss=lambda pred, batch: squares(pred, batch) + constant)
    found = lr_find(shifted, state, BATCHES)
    assert len(found.losses) == len(plain.losses)
    assert found.suggestions == plain.suggestions
    np.testing.assert_allclose(found.losses - constant, plain.losses, rtol=1e-5, atol=1e-3)


def test_where_losses_are_far_above_zero_it_stops_about_where_fastai_does():
    """fastai's rule: the smooth loss is above four times its least value."""
    losses = lr_find(*make(), BATCHES).losses
    above = losses > 4 * np.minimum.accumulate(losses)
    assert len(losses) - 2 <= np.flatnonzero(above)[0] < len(losses)


def test_losses_that_rise_from_the_start_are_no_stop_before_there_is_a_height():
    found = lr_find(*make(), BATCHES[:1], start=1e-7, end=1e-6, steps=20)
    assert len(found.losses) == 20


def test_a_gentle_sweep_runs_to_its_last_step():
    found = lr_find(*make(), BATCHES, start=1e-4, end=1e-2, steps=30)
    _, losses, _ = numpy_sweep(start=1e-4, end=1e-2, steps=30)
    assert len(found.learning_rates) == 30
    assert found.learning_rates[-1] == pytest.approx(1e-2 * 100 ** (-1 / 30))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


def test_nothing_of_the_caller_changes_and_one_program_serves_all_rates():
    traces = []

    def counting(params, model_state, batch, *, key, training):
        traces.append(training)
        return apply(params, model_state, batch, key=key, training=training)

    loop = Loop(counting, squares, gradtx.sgd(0.1, 0.9))
    state = loop.init({"w": jnp.zeros(3)}, {"seen": jnp.zeros((), jnp.int32)})
    state, _ = fit(loop, state, BATCHES, epochs=1)
    keep = lambda state: jax.tree.map(
        lambda x: np.array(x), state.replace(key=jax.random.key_data(state.key))
    )
    before = keep(state)
    traces.clear()
    lr_find(loop, state, BATCHES, steps=20)
    assert traces == [True]
    jax.tree.map(np.testing.assert_array_equal, keep(state), before)
    assert loop.hooks == ()
    fit(loop, state, BATCHES, epochs=1)  # its buffers still live


def test_a_learning_rate_set_by_another_hook_is_overruled():
    def fixed(state, context):
        opt_state = gradtx.set_hyperparams(context.opt_state, learning_rate=0.5)
        return state, context.replace(opt_state=opt_state)

    # However hooks are bound to one another, the search's own is the last.
    on = {"before_batch": fixed}
    bound = [Hook("first", on, run_after=["second", "absent"]), Hook("second", on)]
    found = lr_find(*make(hooks=bound), BATCHES)
    np.testing.assert_allclose(found.losses, lr_find(*make(), BATCHES).losses, rtol=1e-6)


def test_groups_sweep_together():
    groups = gradtx.label_by(all="*")
    tx = gradtx.sgd(gradtx.by_group(groups, all=0.1))
    np.testing.assert_allclose(
        lr_find(*make(tx), BATCHES).losses, lr_find(*make(), BATCHES).losses, rtol=1e-6
    )


def bad_from(step, value=jnp.nan, request=None):
    def after_loss(state, context):
        loss = jnp.where(context.step >= step, value, context.loss)
        if request is not None:
            context = context.request(request, context.step >= step)
        return state, context.replace(loss=loss)

    return Hook("bad", {"after_loss": after_loss})


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_it_stops_at_the_first_loss_that_is_not_finite(value):
    found = lr_find(*make(hooks=[bad_from(40, value)]), BATCHES)
    assert len(found.losses) == 41
    assert not np.isfinite(found.losses[-1]) and np.isfinite(found.losses[:-1]).all()
    last_kept = 39 if np.isnan(value) else 35
    assert usable(found.losses, 100) == range(10, last_kept + 1)


def test_a_hook_that_ends_the_fit_at_a_nan_ends_the_sweep():
    found = lr_find(*make(hooks=[bad_from(40, request=Request.END_FIT)]), BATCHES)
    assert len(found.losses) == 41 and np.isnan(found.losses[-1])


def test_what_judges_whole_epochs_takes_no_part():
    watching = [early_stopping(patience=1), save_best(restore=True), reduce_on_plateau()]
    with_valid = lambda **options: lr_find(*make(**options), BATCHES, start=1e-5, end=1e-2)
    found = with_valid(hooks=watching)
    assert len(found.losses) == 100
    np.testing.assert_array_equal(found.losses, with_valid().losses)


def test_a_hook_that_ends_the_sweep_before_there_is_a_curve_is_an_error():
    end = Hook("end", {"after_batch": lambda s, m: (s, m.request(Request.END_FIT, m.step >= 3))})
    with pytest.raises(ValueError, match=r"a hook ended it at step 4 of 100"):
        lr_find(*make(hooks=[end]), BATCHES)


def test_too_early_a_nan_is_an_error():
    with pytest.raises(ValueError, match=r"lr_find: the loss must stay finite.*step 4 of 100"):
        lr_find(*make(hooks=[bad_from(3)]), BATCHES)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": 0.0}, "needs 0 < start < end"),
        ({"start": 1.0, "end": 0.1}, "needs 0 < start < end"),
        ({"steps": 9}, "`steps` must be at least 10"),
        ({"stop": 1.0}, "`stop` must be greater than 1"),
    ],
)
def test_arguments_that_make_no_sweep_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        lr_find(*make(), BATCHES, **options)


def test_a_scheduled_learning_rate_is_refused():
    tx = gradtx.sgd(gradtx.schedules.linear(0.1, 0.0, 10))
    with pytest.raises(ValueError, match="`learning_rate` follows a schedule"):
        lr_find(*make(tx), BATCHES)


# The rules, against their definitions written out with loops.


def loop_valley(rates, losses):
    n, end, start = len(losses), 0, 0
    longest = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and longest[i] < longest[j] + 1:
                longest[i] = longest[j] + 1
            if longest[end] < longest[i]:
                end = i
                start = end - longest[end]
    third = (end - start) / 3
    return rates[max(0, start + int(third) + int(third / 2))]


def loop_slide(rates, losses):
    inner = [(losses[i + 1] - losses[i - 1]) / 2 for i in range(1, len(losses) - 1)]
    slope = [losses[1] - losses[0], *inner, losses[-1] - losses[-2]]
    right, left = -1, -16
    rate = rates[left]
    while left >= -len(losses) and abs(slope[right] - slope[left]) > 0.005:
        rate = rates[left]
        right, left = right - 1, left - 1
    return rate


@given(st.lists(st.integers(0, 40), min_size=2, max_size=40))
def test_valley_and_slide_are_the_reference_rules(levels):
    losses = np.array(levels) / 8
    rates = 1e-3 * 1.1 ** np.arange(len(losses))
    assert valley(rates, losses) == loop_valley(rates, losses)
    wanted = loop_slide(rates, losses) if len(losses) >= 16 else None
    assert slide(rates, losses) == wanted


def test_rules_on_a_curve_with_known_answers():
    x = np.arange(60) / 60
    rates = 1e-6 * 1e6**x
    losses = np.where(x < 0.25, 2.0, np.where(x < 0.75, 2 - 4 * (x - 0.25), 4 * (x - 0.75) ** 2))
    assert minimum(rates, losses) == pytest.approx(rates[45] / 10)
    assert rates[14] <= steep(rates, losses) < rates[45]
    # The valley is the straight fall from point 15 (the last at 2.0) to 45.
    assert valley(rates, losses) == rates[14 + 10 + 5]


def test_steep_divides_by_the_logarithm_of_the_rate():
    rates = np.array([1e-4, 1e-3, 1e-1])
    # Falls of 0.3 in one decade and of 0.5 in two: the first is steeper.
    assert steep(rates, np.array([1.0, 0.7, 0.2])) == 1e-4


def test_rules_without_enough_points_give_none():
    none = suggest(np.geomspace(1e-6, 1, 6), np.linspace(1, 0, 6), 6)
    assert none["minimum"] is not None and none["steep"] is None and none["slide"] is None


def curve(losses, raw=None, steps=None):
    losses = np.array(losses, float)
    rates, steps = np.geomspace(1e-6, 1, len(losses)), steps or len(losses)
    raw = losses if raw is None else raw
    return LrFind(rates, losses, raw, suggest(rates, losses, steps), steps)


def test_one_rate_is_recommended_and_the_advice_says_why():
    fall = np.concatenate([np.full(20, 3.0), np.linspace(3, 1, 30), np.linspace(1, 9, 20)])
    found = curve(fall)
    assert found.recommended == found.suggestions["valley"]
    assert f"Learning rate {found.recommended:.3g}, by valley." in found.advice
    start, end = (rate for rate in found.learning_rates[[19, 49]])
    assert f"from the rate {start:.2g} to {end:.2g}, from 3 to 1." in found.advice
    assert str(found).splitlines()[2].split() == ["valley", f"{found.recommended:.3g}"]
    assert str(found).endswith(found.advice)


def test_what_a_curve_does_not_tell_is_said():
    flat = curve(np.linspace(1, 2, 60))
    assert flat.recommended is None and "The loss never falls: lower `start`" in flat.advice
    assert "raise `end` to see more" in curve(np.linspace(2, 1, 60)).advice
    assert "raise `end`" not in curve(np.linspace(2, 1, 60), steps=100).advice  # it blew up
    noisy = curve(np.linspace(2, 1, 60), raw=np.linspace(2, 1, 60) + np.tile([9, -9], 30))
    assert "small beside the spread" in noisy.advice and noisy.recommended is not None
    assert "too few points" in curve([3.0, 2.0, 1.0, 2.0, 3.0, 4.0]).advice
