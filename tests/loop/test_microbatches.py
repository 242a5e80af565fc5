"""A batch in parts: the same gradient, loss and metrics as the whole, in the memory of a part."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import gradtx
from gradtx.hooks import loss_scaling, skip_nonfinite
from gradtx.loop import Hook, Loop, Request, accuracy, cross_entropy, from_linen, train_step
from gradtx.loop.microbatches import joined, split
from gradtx.loop.phases import open_epoch, open_fit

RNG = np.random.default_rng(0)
BATCH = {
    "x": jnp.asarray(RNG.normal(size=(12, 5)), jnp.float32),
    "label": jnp.asarray(RNG.integers(0, 3, 12)),
    "weight": jnp.asarray(RNG.uniform(0, 2, 12) * (RNG.uniform(size=12) > 0.3), jnp.float32),
}
PARAMS = {"a": jnp.asarray(RNG.normal(size=(5, 4)), jnp.float32), "b": jnp.ones((4, 3)) / 4}


def apply(params, model_state, batch, *, key, training):
    return jnp.tanh(batch["x"] @ params["a"]) @ params["b"], model_state


def stepped(batch=BATCH, **settings):
    settings = {"apply": apply, "loss": cross_entropy, "tx": gradtx.sgd(0.5)} | settings
    loop = Loop(**settings)
    state = open_epoch(loop, open_fit(loop, loop.init(PARAMS)))
    return *jax.jit(partial(train_step, loop))(state, batch), state


CLOSE = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("parts", [2, 6])
def test_parts_make_the_step_of_the_whole(parts, weighted):
    batch = {k: x for k, x in BATCH.items() if weighted or k != "weight"}
    settings = {"train_metrics": {"accuracy": accuracy}, "hooks": [loss_scaling()]}
    want = stepped(batch, **settings)[:2]
    got = stepped(batch, microbatches=parts, **settings)[:2]
    want, got = (jax.tree.map(np.asarray, (s.replace(key=0), log)) for s, log in (want, got))
    jax.tree.map(CLOSE, got, want)


def test_rows_are_taken_in_turn_and_put_back():
    rows = {"x": jnp.arange(6), "size": jnp.float32(3)}
    parts = split(rows, 3, 6)
    np.testing.assert_array_equal(parts["x"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(parts["size"], [3, 3, 3])
    np.testing.assert_array_equal(joined(parts["x"], 6), np.arange(6))


def test_hooks_see_the_whole_prediction_and_the_parts_losses():
    seen = {}

    def after_step(state, context):
        seen.update(pred=context.pred.shape, batch=context.batch["x"].shape)
        return context.pred, context

    count = Hook(
        "count",
        {"after_loss": lambda n, context: (n + int(context.training), context)},
        lambda state: jnp.zeros((), jnp.int32),
    )
    last = Hook("last", {"after_step": after_step}, lambda state: jnp.zeros((12, 3)))
    new, _, _ = stepped(microbatches=4, hooks=[count, last])
    assert int(new.hooks["count"]) == 4
    want = apply(PARAMS, {}, BATCH, key=None, training=True)[0]
    CLOSE(new.hooks["last"], want)
    assert seen == {"pred": (12, 3), "batch": (12, 5)}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_request_in_one_part_is_the_batchs(parts):
    bad = {**BATCH, "x": BATCH["x"].at[4].set(jnp.nan), "weight": jnp.ones(12)}
    new, log, old = stepped(bad, microbatches=parts, hooks=[skip_nonfinite()])
    jax.tree.map(np.testing.assert_array_equal, new.params, old.params)
    assert not log["known"]["loss"] and int(new.metrics.count) == 0

    ask = lambda state, context: (state, context.request(Request.END_FIT, context.loss > 0))
    new, log, old = stepped(microbatches=parts, hooks=[Hook("end", {"after_loss": ask})])
    jax.tree.map(np.testing.assert_array_equal, new.params, old.params)
    assert int(new.requested) == Request.END_FIT


def test_an_optimizer_that_asks_again_gets_the_whole_loss():
    tx = optax.chain(optax.sgd(0.5), optax.scale_by_backtracking_linesearch(5))
    with jax.numpy_dtype_promotion("standard"):
        want, got = (stepped(tx=tx, microbatches=parts)[0] for parts in (1, 4))
    jax.tree.map(CLOSE, got.params, want.params)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(4)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.relu(x)))


def test_batch_norm_and_dropout_are_those_of_the_parts():
    net = Net()
    variables = net.init(jax.random.key(0), BATCH["x"], train=False)
    loop = Loop(
        apply=from_linen(net, inputs="x"),
        loss=cross_entropy,
        tx=gradtx.sgd(0.5),
        microbatches=3,
    )
    state = loop.init(variables["params"], {"batch_stats": variables["batch_stats"]})
    state = open_epoch(loop, open_fit(loop, state))
    new, _ = jax.jit(partial(train_step, loop))(state, BATCH)
    x, stats = np.asarray(BATCH["x"]), state.model_state["batch_stats"]["BatchNorm_0"]
    dense = state.params["Dense_0"]
    mean = np.asarray(stats["mean"])
    for part in range(3):
        h = x[part::3] @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
        mean = 0.5 * mean + 0.5 * h.mean(axis=0)
    CLOSE(new.model_state["batch_stats"]["BatchNorm_0"]["mean"], mean)


@pytest.mark.parametrize("remat", [True, jax.checkpoint_policies.dots_saveable])
def test_remat_changes_no_number(remat):
    want, got = (stepped(remat=value)[:2] for value in (False, remat))
    jax.tree.map(CLOSE, got[1], want[1])
    jax.tree.map(CLOSE, got[0].params, want[0].params)


def deep(params, model_state, batch, *, key, training):
    x = batch["x"]
    for _ in range(8):
        x = jnp.tanh(x @ params["w"])
    return x[:, :3], model_state


def test_parts_and_remat_take_less_memory():
    batch = {"x": jnp.ones((4096, 32)), "label": jnp.zeros(4096, jnp.int32)}

    def size(**settings):
        loop = Loop(apply=deep, loss=cross_entropy, tx=gradtx.sgd(0.1), **settings)
        state = open_epoch(loop, open_fit(loop, loop.init({"w": jnp.ones((32, 32))})))
        program = jax.jit(partial(train_step, loop)).lower(state, batch).compile()
        return program.memory_analysis().temp_size_in_bytes

    whole = size()
    assert size(microbatches=8) < whole / 3
    assert size(remat=jax.checkpoint_policies.nothing_saveable) <= whole


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"microbatches": 5},
            r"`microbatches` must divide the number of examples in a batch; got 5",
        ),
        ({"microbatches": 0}, r"Loop: `microbatches` must be"),
        ({"microbatches": 1.5}, r"Loop: `microbatches` must be"),
        ({"remat": "yes"}, r"Loop: `remat` must be"),
    ],
)
def test_what_can_not_be_is_refused(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        stepped(**settings)


def test_parts_are_counted_by_a_whole_number():
    with pytest.raises(TypeError, match="`microbatches` must be a whole number; got float"):
        Loop(apply=apply, loss=cross_entropy, tx=gradtx.sgd(0.5), microbatches=2.0)
