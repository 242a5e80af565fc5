"""What training does with batches and losses that are not right: stop, or leave out and count."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradtx
from gradtx.hooks import clip_gradients, skip_nonfinite, terminate_on_nan
from gradtx.loop import fit, take
from gradtx.loop.evaluation import AT_TRAINING, at_training_point
from gradtx.loop.losses import cross_entropy
from gradtx.observers import tell_faults
from tests.loop import small

BAD = 2  # the number of the batch
STOP, SKIP = small.make(terminate_on_nan()), small.make(skip_nonfinite())  # compiled once


@pytest.fixture(params=[np.nan, np.inf, -np.inf])
def batches(request):
    """Six batches, of which one has a value that is not finite."""
    batches = [b for epoch in (0, 1) for b in small.batches()(epoch, 0)]
    x = batches[BAD]["x"].at[3, 1].set(request.param)
    # The net's tanh would make infinity harmless.
    y = batches[BAD]["y"].at[3].set(request.param)
    batches[BAD] = {"x": x, "y": y}
    return batches


def test_stopping_keeps_the_parameters_from_before_the_batch(batches):
    state, history = fit(STOP, small.start(STOP), batches, epochs=1)
    assert int(state.hooks["terminate_on_nan"]) == BAD
    want, _ = fit(STOP, small.start(STOP), batches[:BAD], epochs=1)
    small.assert_same(state.params, want.params)
    small.assert_same(state.model_state, want.model_state)
    assert np.isnan(history.steps["loss"][BAD]) and np.isfinite(history.steps["loss"][:BAD]).all()


def test_skipping_is_as_if_the_batch_had_never_been_and_is_counted(batches):
    state, _ = fit(SKIP, small.start(SKIP), batches, epochs=1)
    assert int(state.hooks["skip_nonfinite"].skipped) == 1
    want, _ = fit(SKIP, small.start(SKIP), batches[:BAD] + batches[BAD + 1 :], epochs=1)
    small.assert_same(state.params, want.params)
    small.assert_same(state.opt_state, want.opt_state)


def test_skipping_gives_up_when_nothing_else_comes(batches):
    state, history = fit(SKIP, small.start(SKIP), [batches[BAD]] * 10, epochs=5)
    assert int(state.hooks["skip_nonfinite"].skipped) == 5 and len(history.rows) == 1
    small.assert_same(state.params, small.params())


def test_a_loss_that_explodes_ends_the_fit_with_finite_parameters():
    loop = small.make(terminate_on_nan(), tx=gradtx.sgd(1e6))
    epochs = 100
    forever = lambda epoch, start: small.batches()(epoch % 2, start)
    state, history = fit(loop, small.start(loop), forever, epochs=epochs)
    step = int(state.hooks["terminate_on_nan"])
    assert 0 < step < 3 * epochs - 1 and len(history.steps["loss"]) == step + 1
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(state.params))
    clipped = small.make(terminate_on_nan(), clip_gradients(1e-6), tx=gradtx.sgd(1e6))
    state, history = fit(clipped, small.start(clipped), forever, epochs=epochs)
    assert int(state.hooks["terminate_on_nan"]) == -1 and len(history.rows) == epochs


def test_an_empty_batch_is_an_error_before_it_is_trained_on():
    loop = small.make()
    empty = jax.tree.map(lambda x: x[:0], small.DATA)
    with pytest.raises(ValueError, match="a batch must have one example at least; got none"):
        fit(loop, small.start(loop), [empty], epochs=1)
    with pytest.raises(ValueError, match="a batch must have one example at least; got none"):
        fit(loop, small.start(loop), small.batches(), [empty], epochs=1)


def test_a_batch_of_weight_zero_changes_no_parameter_and_no_figure():
    loop = small.make(tx=gradtx.sgd(0.1))
    nothing = small.valid()[0] | {"weight": jnp.zeros(small.BATCH)}
    state, history = fit(loop, small.start(loop), [nothing], epochs=1)
    small.assert_same(state.params, small.params())
    assert np.isnan(history.steps["loss"]).tolist() == [True]  # it does not count
    assert np.isnan(history.rows[0]["train_loss"]) and int(state.metrics.count) == 0
    _, with_it = fit(loop, small.start(loop), small.batches(), [*small.valid(), nothing], epochs=1)
    _, without = fit(loop, small.start(loop), small.batches(), small.valid(), epochs=1)
    for name in ("valid_loss", "error"):
        assert with_it.rows[0][name] == without.rows[0][name]


def test_no_batches_at_all_are_an_error():
    loop = small.make()
    with pytest.raises(ValueError, match="`train` must give batches; got none in epoch 0"):
        fit(loop, small.start(loop), lambda epoch, start: [], epochs=1)


def test_a_class_that_the_model_has_not_stops_the_fit():
    def apply(params, model_state, batch, *, key, training):
        return batch["x"] @ params["w1"], model_state  # four classes

    loop = small.make(
        terminate_on_nan(), apply=apply, loss=cross_entropy, metrics={}, tx=gradtx.sgd(0.1)
    )
    label = lambda top: jnp.arange(small.BATCH, dtype=jnp.int32) % top
    batches = [{"x": small.DATA["x"][:8], "label": label(top)} for top in (4, 4, 5)]
    state, _ = fit(loop, small.start(loop), batches, epochs=1)
    assert int(state.hooks["terminate_on_nan"]) == 2
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(state.params))


def test_a_loop_says_why_a_fit_failed_and_counts_its_faults(batches):
    state, _ = fit(STOP, small.start(STOP), batches, epochs=1)
    assert STOP.failure(state) == f"the loss was not finite at step {BAD}"
    assert STOP.faults(state) == {"runs ended by a loss that is not finite": 1}
    one, _ = fit(SKIP, small.start(SKIP), batches, epochs=1)
    assert SKIP.failure(one) is None and not SKIP.failed(one)
    assert SKIP.faults(one) == {"batches skipped, not finite": 1}
    all_, _ = fit(SKIP, small.start(SKIP), [batches[0], *[batches[BAD]] * 9], epochs=1)
    assert SKIP.failure(all_) == "5 batches in a row were not finite, until step 5"
    assert SKIP.faults(all_) == {"batches skipped, not finite": 5}
    both = jax.tree.map(lambda *x: jnp.stack(x), one, all_)
    assert SKIP.failed(both).tolist() == [False, True]


def test_a_loop_without_hooks_never_fails():
    loop = small.make()
    state = small.start(loop)
    assert loop.failure(state) is None and loop.faults(state) == {} and not loop.failed(state)


@pytest.mark.parametrize("eval_params", [None, gradtx.schedule_free_eval_params])
def test_validation_at_the_training_point_of_an_averaging_optimizer_is_told(eval_params):
    """Not without validation, and not where the loop declares the average."""
    tx = gradtx.schedule_free_sgd(0.1)
    loop = small.make(tx=tx, eval_params=eval_params)
    batches = [take(small.DATA, rows) for rows in small.orders(1)[0]]
    start = small.start(loop)
    unseen, _ = fit(loop, start, batches, epochs=1)
    assert loop.faults(unseen) == {}
    told = []
    watch = tell_faults(loop, say=told.append)
    state, _ = fit(loop, start, batches, batches, epochs=2, observers=[watch])
    want = {AT_TRAINING: 1} if eval_params is None else {}
    assert loop.faults(state) == want
    assert told == [f"Warning: {kind} (1)." for kind in want]  # once, not in each epoch


def test_what_keeps_an_average_is_found_wherever_it_stands():
    params = {"w": jnp.ones(2)}
    inside = gradtx.chain(gradtx.sgd(0.1), gradtx.transforms.ema_params(0.9))
    for tx in (inside, optax.contrib.schedule_free(optax.sgd(0.1), 0.1)):
        assert at_training_point(tx.init(params))
    for tx in (gradtx.adamw(0.1), optax.adamw(0.1)):
        assert not at_training_point(tx.init(params))
