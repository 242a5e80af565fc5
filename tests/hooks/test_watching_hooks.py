"""Hooks that watch: bad numbers, the best epoch, averages, the recurrent state."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import hooks
from gradtx.core.tree import all_finite
from gradtx.loop import Metrics, Request, compiled_fit, fit, population, take, train_step, with_nan
from gradtx.loop.metric import Mean
from tests.loop import small

BATCH = take(small.DATA, small.orders()[0, 0])
step = jax.jit(train_step, static_argnums=0)


def call(hook, event, state, context):
    return hook.on[event](state, context)


def epoch(state, loss, **fields):
    """A context at the end of an epoch with that validation loss."""
    one = jnp.ones((), jnp.float32)
    metrics = state.metrics
    of = lambda name, value: replace(metrics.states[name], state=Mean(value, one))
    states = {"loss": of("loss", jnp.float32(loss)), "error": of("error", one)}
    metrics = Metrics(one, jnp.int32(1), states, one)
    return small.context(state, training=False, metrics=metrics, **fields)


# --- terminate_on_nan and skip_nonfinite ---


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_the_fit_ends_before_the_bad_update(where):
    """A square root at 0 has a finite value and an infinite gradient."""
    loop = small.make(hooks.terminate_on_nan(), apply=root if where == "gradient" else small.apply)
    state = small.start(loop)
    y = BATCH["y"].at[0].set(jnp.nan) if where == "loss" else BATCH["y"]
    new, log = step(loop, state, BATCH | {"y": y})
    for name in ("params", "opt_state", "model_state"):
        small.assert_same(getattr(new, name), getattr(state, name))
    assert int(log["requested"]) == Request.END_FIT
    assert int(new.hooks["terminate_on_nan"]) == 0
    assert np.isnan(with_nan(log)["loss"]) == (where == "loss")


def root(params, model_state, batch, **how):
    pred, new = small.apply(params, model_state, batch, **how)
    return pred + jnp.sqrt(jnp.sum(0 * params["b"])), new


def test_a_fit_that_diverges_ends_with_finite_parameters_and_is_reported():
    bad = hooks.schedule_hyperparams(learning_rate=lambda n: jnp.where(n == 1, 1e30, 0.01))
    loop = small.make(hooks.terminate_on_nan(), bad, tx=gradtx.sgd(0.1))
    state, history = small.run(loop)
    assert int(state.hooks["terminate_on_nan"]) == 2 and int(state.step) == 3
    assert len(history.rows) == 1 and np.isnan(history.rows[0]["valid_loss"])
    assert np.isnan(history.steps["loss"]).tolist() == [False, False, True]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(small.numbers(state.params)))
    assert float(gradtx.hyperparams(state)["learning_rate"]) == np.float32(0.1)


def test_single_bad_batches_are_skipped_until_there_are_too_many():
    hook = hooks.skip_nonfinite(max_in_a_row=2)
    state = small.start(small.make())
    memory, asked = hook.init(state), []
    for loss, grad in [(1, 1), (np.nan, 1), (1, 1), (1, np.inf), (np.inf, 1)]:
        seen = small.context(state, objective=jnp.float32(loss))
        memory, seen = call(hook, "after_loss", memory, seen)
        if int(seen.requested) < Request.SKIP_BATCH:
            grads = {"w": jnp.full(2, grad, jnp.float32)}
            memory, seen = call(hook, "after_backward", memory, seen.replace(grads=grads))
        asked.append(Request(int(seen.requested)))
    skip = Request.SKIP_BATCH
    assert asked == [Request.CONTINUE, skip, Request.CONTINUE, skip, Request.END_FIT]
    assert int(memory.skipped) == 3 and bool(memory.gave_up)
    memory, _ = call(hook, "before_fit", memory, small.context(state))
    assert [int(x) for x in memory] == [3, 0, 0, -1]
    with pytest.raises(ValueError, match=r"skip_nonfinite: `max_in_a_row` .* got 0"):
        hooks.skip_nonfinite(max_in_a_row=0)


# --- early_stopping, reduce_on_plateau, save_best ---


WATCHING = [hooks.early_stopping, hooks.reduce_on_plateau, hooks.save_best]


@pytest.mark.parametrize("factory", WATCHING)
@pytest.mark.parametrize("metric", ["error", "accuracy", "loss_of_the_head"])
def test_the_direction_of_a_metric_is_never_guessed(factory, metric):
    where = factory.__name__
    with pytest.raises(ValueError, match=rf"{where}: `mode` must be given for '{metric}'"):
        factory(metric)
    assert factory(metric, mode="max").watches == metric
    assert factory("train_loss").watches == "train_loss"


@pytest.mark.parametrize("factory", WATCHING)
def test_what_is_watched_must_be_there_when_the_fit_begins(factory):
    for metric in ("valid_loss", "error"):
        loop = small.make(factory(metric, mode="min"))
        state = small.start(loop)
        message = rf"hook '{factory.__name__}' watches '{metric}', which needs validation; got no"
        with pytest.raises(ValueError, match=f"fit: {message}"):
            fit(loop, state, small.batches(), epochs=2)
        with pytest.raises(ValueError, match=f"compiled_epoch: {message}"):
            compiled_fit(loop, state, small.DATA, small.orders())
        many = jax.tree.map(lambda x: x[None], state)
        for how in ("map", "vmap"):
            with pytest.raises(ValueError, match=message):
                population(loop, many, small.DATA, small.orders(), how=how)
    loop = small.make(factory("train_loss"))
    _, history = fit(loop, small.start(loop), small.batches(), epochs=2)
    assert len(history.rows) == 2


@pytest.mark.parametrize(
    ("losses", "how", "end"),
    [
        ([3, 2, 2.5, 2.1, 1], {"patience": 2}, 3),
        ([3, 2, 1.95, 1.94], {"patience": 2, "min_delta": 0.1}, 3),
        ([1, 2, 3, 2, 4, 1], {"patience": 2, "mode": "max"}, None),
        ([3, np.nan, np.nan], {"patience": 2}, 2),
    ],
)
def test_early_stopping_counts_epochs_without_a_better_value(losses, how, end):
    hook = hooks.early_stopping(**how)
    state = small.start(small.make())
    memory = hook.init(state)
    ended = None
    for i, loss in enumerate(losses):
        memory, seen = call(hook, "after_epoch", memory, epoch(state, loss))
        if ended is None and int(seen.requested) == Request.END_FIT:
            ended = i
    assert ended == end
    fresh, _ = call(hook, "before_fit", memory, small.context(state))
    small.assert_same(fresh, hook.init(state))


def test_the_rate_is_reduced_on_a_plateau_and_put_back_after_the_fit():
    hook = hooks.reduce_on_plateau(factor=0.1, patience=1, min_learning_rate=0.005)
    state = small.start(small.make(tx=gradtx.sgd(0.1)))
    memory, _ = call(hook, "before_fit", hook.init(state), small.context(state))
    rates, opt_state = [], state.opt_state
    for loss in [3, 2, 2, 1, 1, 1]:
        memory, seen = call(hook, "after_epoch", memory, epoch(state, loss, opt_state=opt_state))
        opt_state = seen.opt_state
        rates.append(float(gradtx.hyperparams(opt_state)["learning_rate"]))
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.005, 0.005], rtol=1e-6)
    _, after = call(hook, "after_fit", memory, seen)
    assert float(gradtx.hyperparams(after.opt_state)["learning_rate"]) == np.float32(0.1)


def test_a_rate_that_can_not_be_set_is_found_when_the_state_is_made():
    scheduled = gradtx.sgd(lambda count: 0.1)
    with pytest.raises(ValueError, match=r"`learning_rate` follows a schedule"):
        small.start(small.make(hooks.reduce_on_plateau(), tx=scheduled))
    with pytest.raises(ValueError, match=r"`learning_rate` must name one hyperparameter"):
        small.start(small.make(hooks.reduce_on_plateau(), tx=gradtx.scale(0.1)))


def test_the_best_epoch_is_kept_and_put_back():
    hook = hooks.save_best(restore=True)
    state = small.start(small.make())
    memory, _ = call(hook, "before_fit", hook.init(state), small.context(state))
    for i, loss in enumerate([3.0, 1.0, 2.0]):
        params = jax.tree.map(lambda p: jnp.full_like(p, i), state.params)  # noqa: B023
        seen = epoch(state, loss, params=params).replace(epoch=jnp.int32(i))
        memory, _ = call(hook, "after_validate", memory, seen)
    assert int(memory.epoch) == 1 and float(memory.value) == 1.0
    _, after = call(hook, "after_fit", memory, seen)
    assert all((x == 1).all() for x in jax.tree.leaves(after.params))
    kept = state.replace(hooks={"save_best": memory})
    assert float(hooks.best_params(kept)[0]["b"][0]) == 1.0
    _, nothing = call(hook, "after_fit", hook.init(state), seen)
    small.assert_same(nothing.params, seen.params)
    with pytest.raises(ValueError, match=r"best_params: the state must be one of a loop with"):
        hooks.best_params(state)


@pytest.mark.parametrize("factory", WATCHING)
def test_watching_hooks_check_what_they_watch(factory):
    name = factory.__name__
    with pytest.raises(ValueError, match=rf"{name}: `mode` must be .* got 'down'"):
        factory(mode="down")
    with pytest.raises(ValueError, match=rf"{name}: `min_delta` must not be negative"):
        factory(min_delta=-1.0)
    with pytest.raises(ValueError, match=rf"{name}: .* got 'acc'. .*train_loss, valid_loss, error"):
        small.start(small.make(factory("acc", mode="max")))
    if name != "save_best":
        with pytest.raises(ValueError, match=r"`patience` (must be )?at least 1"):
            factory(patience=0)


# --- ema_params ---


def test_the_average_moves_with_steps_only_and_stands_in_during_validation():
    hook = hooks.ema_params(0.75)
    state = small.start(small.make())
    memory = hook.init(state)
    twice = jax.tree.map(lambda p: 2 * p, state.params)
    moved, _ = call(hook, "after_step", memory, small.context(state, params=twice))
    want = jax.tree.map(lambda p: 1.25 * p, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved.average, want)
    skipped = small.context(state, params=twice, requested=jnp.int32(Request.SKIP_STEP))
    still, _ = call(hook, "after_step", memory, skipped)
    small.assert_same(still.average, memory.average)
    inside, seen = call(hook, "before_validate", moved, small.context(state, params=twice))
    small.assert_same(seen.params, moved.average)
    _, after = call(hook, "after_validate", inside, seen)
    small.assert_same(after.params, twice)
    holder = state.replace(hooks={"ema_params": moved})
    small.assert_same(hooks.averaged_params(holder), moved.average)
    with pytest.raises(ValueError, match=r"ema_params: `decay` must be in \[0, 1\); got 1"):
        hooks.ema_params(1)
    with pytest.raises(ValueError, match=r"averaged_params: the state must be"):
        hooks.averaged_params(state)


def test_the_best_of_an_average_is_the_average():
    """save_best keeps what was validated, and the fit goes on with the weights themselves."""
    together = small.make(hooks.ema_params(0.5), hooks.save_best())
    state, _ = small.run(together, epochs=1)
    small.assert_same(hooks.best_params(state)[0], hooks.averaged_params(state))
    alone, _ = small.run(small.make(), epochs=1)
    small.assert_same(state.params, alone.params)


def test_the_average_of_half_precision_parameters_is_kept_in_float32():
    state = small.start(small.make())
    half = state.replace(params=jax.tree.map(lambda p: p.astype(jnp.bfloat16), state.params))
    memory = hooks.ema_params().init(half)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(memory.average))
    assert (
        hooks.averaged_params(half.replace(hooks={"ema_params": memory}))["b"].dtype == "bfloat16"
    )


# --- reset_model_state ---


def counting(params, model_state, batch, *, key, training):
    pred, _ = small.apply(params, small.model_state(), batch, key=key, training=training)
    return pred, model_state | {"carry": model_state["carry"] + 1}


def test_the_carried_state_is_reset_before_every_phase_and_after_the_fit():
    seen = []
    loop = small.make(hooks.reset_model_state(), apply=counting)
    state = loop.init(small.params(), {"carry": jnp.full(2, 7.0), "kept": jnp.full(2, 5.0)})

    def look(report):
        seen.append(float(report.state.model_state["carry"][0]))

    on = {"after_batch": look, "before_validate": look, "after_epoch": look, "after_fit": look}
    final, _ = small.run(loop, state, observers=[gradtx.loop.Observer(on)])
    assert seen == [1, 2, 3, 0, 2] * 2 + [0]
    assert final.model_state["kept"].tolist() == [5, 5]


def test_what_is_reset_can_be_a_function_and_must_exist():
    hook = hooks.reset_model_state(lambda s: {"mean": s["mean"] + 1})
    state = small.start(small.make())
    _, got = call(hook, "before_train", (), small.context(state))
    assert got.model_state["mean"].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"reset_model_state: .*'carry'; got \['mean'\]"):
        small.start(small.make(hooks.reset_model_state()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_one_number_among_all_leaves_is_found(bad):
    tree = {"a": jnp.ones(3), "b": [jnp.zeros((2, 2)), jnp.float16(1)]}
    assert bool(all_finite(tree)) and bool(all_finite({}))
    tree["b"][0] = tree["b"][0].at[1, 0].set(bad)
    assert bool(all_finite(tree)) == bool(np.isfinite(np.float32(bad)))
