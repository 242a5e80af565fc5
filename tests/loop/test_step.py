"""What hooks can change in a step, what is recorded of it, and what they must not return."""

import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.hooks import clip_gradients
from gradtx.loop import Hook, Request, eval_step, take, train_step
from tests.loop import small

BATCH = take(small.DATA, small.orders()[0, 0])
NONE = ()


def step(loop, state=None, batch=BATCH):
    return jax.jit(train_step, static_argnums=0)(
        loop, small.start(loop) if state is None else state, batch
    )


def hook(event, change, name="h", **how):
    return Hook(name, {event: lambda state, context: (state, change(context))}, **how)


def gradient_of(loss):
    """By JAX, of a loss written out here; the loop has no part in it."""
    return jax.grad(loss)(small.params())


def predict(params):
    return small.apply(params, small.model_state(), BATCH, key=None, training=True)[0]


def mean_square(params):
    return jnp.mean(jnp.square(predict(params) - BATCH["y"]))


@pytest.mark.parametrize(
    ("event", "change", "loss"),
    [
        (
            "after_loss",
            lambda m: m.replace(objective=m.objective + jnp.sum(jnp.square(m.params["w1"]))),
            lambda p: mean_square(p) + jnp.sum(jnp.square(p["w1"])),
        ),
        (
            "after_pred",
            lambda m: m.replace(pred=3 * m.pred),
            lambda p: jnp.mean(jnp.square(3 * predict(p) - BATCH["y"])),
        ),
        (
            "before_backward",
            lambda m: m.replace(objective=2 * m.objective),
            lambda p: 2 * mean_square(p),
        ),
    ],
)
def test_a_hook_in_the_differentiated_part_changes_the_gradient(event, change, loss):
    got = {}
    keep = Hook(
        "keep",
        {"after_backward": lambda state, m: (m.grads, m)},
        init=lambda state: state.params,
    )
    new, _ = step(small.make(hook(event, change), keep))
    got, want = new.hooks["keep"], gradient_of(loss)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6)
    assert not np.allclose(want["w1"], gradient_of(mean_square)["w1"], rtol=1e-3)


def test_a_penalty_is_not_in_the_recorded_loss():
    add = hook("after_loss", lambda m: m.replace(objective=m.objective + 100.0))
    _, log = step(small.make(add))
    assert float(log["loss"]) == pytest.approx(float(mean_square(small.params())), rel=1e-6)
    assert float(log["train_loss"]) == pytest.approx(float(log["loss"]), rel=1e-6)


def test_a_request_for_the_step_leaves_the_gradient_alone():
    """SKIP_STEP outranks SKIP_BACKWARD, but the backward pass is not inside of the step."""
    norm = Hook(
        "norm",
        {"after_backward": lambda state, m: (gradtx.core.tree.global_norm(m.grads), m)},
        init=lambda state: jnp.zeros(()),
    )
    ask = hook("after_loss", lambda m: m.request(Request.SKIP_STEP), name="ask")
    new, _ = step(small.make(ask, norm))
    assert float(new.hooks["norm"]) > 0
    assert int(new.opt_state.count) == 0


def test_requests_can_not_be_taken_back():
    ask = hook("before_batch", lambda m: m.request(Request.SKIP_BATCH), name="ask")
    deny = hook("before_batch", lambda m: m.replace(requested=jnp.int32(0)), name="deny")
    new, _ = step(small.make(ask, deny))
    small.assert_same(new.params, small.params())


def test_no_loss_is_recorded_where_there_was_none():
    """A batch cut short before its loss leaves no stale one, in the log, the mean or the row."""
    cut = small.request("after_pred", Request.SKIP_BATCH, 1)
    plain, cut = small.make(), small.make(cut)
    _, want = small.run(plain, epochs=1)
    state, history = small.run(cut, epochs=1)
    losses = history.steps["loss"]
    assert np.isnan(losses[1]) and np.isfinite(losses[[0, 2]]).all()
    assert losses[0] == want.steps["loss"][0] and losses[2] != want.steps["loss"][2]
    assert int(state.metrics.count) == 2
    assert history.steps["train_loss"][1] == history.steps["train_loss"][0]
    average = 0.0
    for loss in losses[[0, 2]]:
        average = 0.98 * average + 0.02 * float(loss)
    assert history.rows[0]["train_loss"] == pytest.approx(average / (1 - 0.98**2), rel=1e-5)


@pytest.mark.parametrize(
    ("event", "step_", "request_", "missing"),
    [
        ("before_train", 0, Request.END_PHASE, {"train_loss", "train_loss_mean"}),
        ("before_validate", small.STEPS, Request.END_PHASE, {"valid_loss", "error"}),
        (
            "before_epoch",
            0,
            Request.END_EPOCH,
            {"train_loss", "train_loss_mean", "valid_loss", "error"},
        ),
    ],
)
def test_the_columns_of_the_epoch_table_are_always_the_same(event, step_, request_, missing):
    _, history = small.run(small.make(small.request(event, request_, step_)), epochs=1)
    (row,) = history.rows
    columns = ["epoch", "train_loss", "train_loss_mean", "valid_loss", "error", "time"]
    assert list(row) == columns
    assert {name for name, value in row.items() if np.isnan(value)} == missing


def test_means_are_weighted_so_that_filling_does_not_count():
    weight = jnp.asarray([1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    loop = small.make()
    state = small.start(loop)
    _, log = step(loop, state, BATCH | {"weight": weight})
    losses = np.square(np.asarray(predict(small.params()) - BATCH["y"], np.float64))
    want = np.average(losses, weights=weight)
    assert float(log["loss"]) == pytest.approx(want, rel=1e-5)
    seen = jax.jit(eval_step, static_argnums=0)(loop, state, BATCH | {"weight": weight})
    assert float(seen.metrics.row["valid_loss"]) == pytest.approx(want, rel=1e-5)
    assert float(seen.metrics.weight) == 2.5


def wrong_return(m):
    return m.replace(params={"other": jnp.zeros(2)})


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (
            Hook("h", {"after_batch": lambda s, m: m}),
            TypeError,
            r"Hook 'h'.on\['after_batch'\]: must return \(hook_state, context\); got StepContext",
        ),
        (
            Hook(
                "h", {"after_batch": lambda s, m: (s.astype(jnp.float16), m)}, lambda s: jnp.ones(2)
            ),
            ValueError,
            r"the hook's state must keep .*float16\[2\] at \(the root\) after float32\[2\]",
        ),
        (
            hook("after_batch", wrong_return),
            ValueError,
            r"Hook 'h'.on\['after_batch'\]: `context.params` must keep its structure",
        ),
        (
            hook("after_loss", lambda m: m.replace(params=jax.tree.map(jnp.copy, m.params))),
            ValueError,
            r"parameters can't be changed while the loss is differentiated",
        ),
        (
            hook("after_update", lambda m: m.replace(updates=None)),
            ValueError,
            r"`context.updates` must keep its structure",
        ),
    ],
)
def test_hooks_that_return_what_they_must_not_are_named(bad, error, message):
    loop = small.make(bad)
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda state: train_step(loop, state, BATCH), small.start(loop))


def test_a_loss_must_have_a_value_for_each_example():
    loop = small.make(loss=lambda pred, batch: jnp.mean(pred))
    with pytest.raises(ValueError, match=r"Loop: `loss` and metrics must return .* got shape \(\)"):
        jax.eval_shape(lambda state: train_step(loop, state, BATCH), small.start(loop))


def test_losses_in_half_precision_are_averaged_in_float32():
    half = lambda pred, batch: small.loss(pred, batch).astype(jnp.bfloat16)
    _, log = step(small.make(loss=half))
    losses = np.asarray(half(predict(small.params()), BATCH), np.float64)
    assert log["loss"].dtype == jnp.float32
    assert float(log["loss"]) == pytest.approx(losses.mean(), rel=1e-5)


def test_a_metric_must_not_take_a_columns_name():
    with pytest.raises(ValueError, match=r"Loop: a metric .* got 'valid_loss'"):
        small.make(metrics={"valid_loss": small.error})


def test_keys_differ_between_hooks_and_steps_and_not_with_the_order():
    draw = lambda name: Hook(
        name,
        {"before_batch": lambda s, m: (jax.random.uniform(m.key), m)},
        init=lambda s: jnp.zeros(()),
    )
    one, _ = step(small.make(draw("a"), draw("b")))
    other, _ = step(small.make(draw("b"), draw("a")))
    small.assert_same(one.hooks, other.hooks)
    assert float(one.hooks["a"]) != float(one.hooks["b"])
    later, _ = step(small.make(draw("a"), draw("b")), one)
    assert float(later.hooks["a"]) != float(one.hooks["a"])


def test_hooks_add_their_entries_to_the_log():
    """Here the norm of the gradient, which the loop computes anyway."""
    loop = small.make(clip_gradients(math.inf), tx=gradtx.sgd(0.1))
    plain = small.make(tx=gradtx.sgd(0.1))
    (new, log), (old, without) = step(loop), step(plain)
    squares = [
        np.sum(np.square(np.asarray(g, np.float64)))
        for g in jax.tree.leaves(gradient_of(mean_square))
    ]
    np.testing.assert_allclose(log["gradient_norm"], np.sqrt(sum(squares)), rtol=1e-6)
    assert log.keys() - without.keys() == {"gradient_norm"}
    small.assert_same(new.params, old.params)


TAKEN = (
    "loss",
    "train_loss",
    "requested",
    "alive",
    "step",
    "epoch",
    "kind",
    "learning_rate",
    "known",
)


@pytest.mark.parametrize("name", [*TAKEN, "mine"])
def test_an_entry_that_is_taken_is_an_error_before_there_is_a_step(name):
    """Those that the loop and its observers write, and another hook's."""
    log = lambda name: lambda state: {name: jnp.zeros(())}
    other, wrong = Hook("other", {}, log=log("mine")), Hook("wrong", {}, log=log(name))
    said = f"Hook 'wrong': `log` must have names of its own; got {name!r}, which is taken"
    with pytest.raises(ValueError, match=said):
        small.start(small.make(other, wrong))
    loop = small.make(other)
    state = small.start(loop)
    with pytest.raises(ValueError, match=said):
        loop.with_hooks(state, [wrong])


OWN = ("step", "kind", "epoch", "loss", "train_loss", "train_loss_mean", "time", "known")


@pytest.mark.parametrize("name", OWN)
def test_a_metric_must_not_have_the_name_of_another_column(name):
    with pytest.raises(ValueError, match=f"must not have the name of a column .* got {name!r}"):
        small.make(metrics={name: small.error})


@pytest.mark.parametrize("count", [1, 2, 3, 10, 500, 100_000])
def test_the_smooth_losss_debiasing_keeps_its_digits(count):
    average = 1 - 0.98**count  # of a loss that is always 1
    metrics = small.start(small.make()).metrics
    metrics = replace(metrics, average=jnp.float32(average), count=jnp.int32(count))
    np.testing.assert_allclose(metrics.train_loss, 1, rtol=3e-7)


def test_a_batch_may_hold_numpy_arrays_and_numbers():
    loop = small.make()
    plain, _ = step(loop)
    mixed = {name: np.asarray(value) for name, value in BATCH.items()}
    new, _ = step(loop, batch=mixed | {"number": 3, "share": 0.5, "flag": True, "nothing": None})
    small.assert_same(new.params, plain.params)


def selects(loop):
    """The shapes of what a training step of `loop` selects."""
    program = jax.make_jaxpr(lambda state: train_step(loop, state, BATCH))(small.start(loop))
    found = re.findall(r":(\w+)\[([\d,]*)\] = select_n", str(program))
    return {tuple(int(size) for size in shape.split(",") if size) for _, shape in found}


def test_a_loop_without_hooks_selects_nothing_but_figures():
    """What hooks may skip is left out by selects; where there are none, the program has none."""
    tx = gradtx.sgd(0.1)
    shapes = {leaf.shape for leaf in jax.tree.leaves(small.params())}
    assert selects(small.make(tx=tx)) == {()}
    assert shapes <= selects(small.make(small.request("after_loss", Request.SKIP_STEP, 0), tx=tx))


def test_nothing_before_the_step_is_fused_with_it():
    """Else it would round otherwise in a compiled fit's scan than alone."""
    loop = small.make()
    made = jax.make_jaxpr(lambda state, batch: train_step(loop, state, batch))(
        small.start(loop), BATCH
    )
    assert made.eqns[0].primitive.name == "optimization_barrier"
    inputs = [v for v in made.jaxpr.invars if v in made.eqns[0].invars]
    assert len(inputs) == len(made.jaxpr.invars)  # all of the state and of the batch
    later = {id(v) for eqn in made.eqns[1:] for v in eqn.invars}
    assert not any(id(v) in later for v in made.jaxpr.invars)
