"""What an example counts for: weights of 0, columns and scalars, the size of a batch, the means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import hooks
from gradtx.core.examples import count_examples
from gradtx.loop import Loop, cross_entropy, eval_step, fit, take, train_step
from gradtx.tuning.sweep import padded_order
from tests.loop import small

BATCH = take(small.DATA, jnp.arange(small.BATCH))
KEPT = jnp.asarray([1.0, 0.5, 2.0, 0.0, 1.0, 0.0, 1.0, 1.0])
step = jax.jit(train_step, static_argnums=0)
check = jax.jit(eval_step, static_argnums=0)


def spoilt(batch, value):
    """The rows of weight 0 hold `value` in every floating entry."""
    idle = KEPT == 0
    fill = lambda x: jnp.where(jnp.expand_dims(idle, range(1, x.ndim)), value, x)
    floating = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    return {k: fill(x) if floating(x) else x for k, x in batch.items()} | {"weight": KEPT}


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_row_of_weight_0_counts_for_nothing_whatever_it_holds(value):
    """In the loss, the metrics, the parameters and the statistics, against rows of zeros."""
    loop = small.make(tx=gradtx.sgd(0.1))
    state = small.start(loop)
    want, want_log = step(loop, state, spoilt(BATCH, 0))
    got, log = step(loop, state, spoilt(BATCH, value))
    small.assert_same((got.params, got.model_state), (want.params, want.model_state))
    small.assert_same(log, want_log)
    seen = check(loop, state, spoilt(BATCH, value)).metrics
    small.assert_same(seen, check(loop, state, spoilt(BATCH, 0)).metrics)
    assert float(seen.weight) == float(KEPT.sum())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_or_a_metric_that_is_not_finite_counts_for_nothing_at_weight_0(value):
    """A loss that is so by itself; the derivative of these rows by the prediction is finite."""
    bad = lambda pred, batch: jnp.where(KEPT == 0, value, small.loss(pred, batch))
    loop = small.make(loss=bad, metrics={"bad": bad}, tx=gradtx.sgd(0.1))
    plain = small.make(metrics={"bad": small.loss}, tx=gradtx.sgd(0.1))
    batch = BATCH | {"weight": KEPT}
    (got, log), (want, want_log) = (step(x, small.start(x), batch) for x in (loop, plain))
    small.assert_same(got.params, want.params)
    assert log["loss"] == want_log["loss"]
    row = check(loop, small.start(loop), batch).metrics.row
    assert float(row["bad"]) == float(row["valid_loss"]) == pytest.approx(float(log["loss"]))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_logits_of_weight_0_are_not_in_the_derivative_of_the_cross_entropy(value):
    logits = jnp.zeros((8, 4)).at[:, 1].set(jnp.arange(8.0))
    label = jnp.asarray([0, 1, 2, -1, 1, 1, 3, 0])
    for smoothing in (0.0, 0.1):
        soft = jax.nn.one_hot(label, 4)
        for target in (label, soft):
            batch = {"label": target, "weight": KEPT}
            f = lambda x, b=batch, s=smoothing: cross_entropy(x, b, label_smoothing=s).sum()
            loss, grad = jax.value_and_grad(f)(jnp.where(KEPT[:, None] == 0, value, logits))
            assert np.isfinite(loss) and np.isfinite(grad).all()
            assert not grad[np.asarray(KEPT) == 0].any() and grad[0].any()


def test_the_rest_of_a_mean_without_weights_is_as_it_was():
    """Against NumPy, with weights that are far from 1."""
    for scale in (1e-20, 1.0, 1e20):
        _, log = step(small.make(), small.start(small.make()), BATCH | {"weight": KEPT * scale})
        pred = small.apply(small.params(), small.model_state(), BATCH, key=None, training=True)[0]
        losses = np.square(np.asarray(pred - BATCH["y"], np.float64))
        assert float(log["loss"]) == pytest.approx(np.average(losses, weights=KEPT), rel=1e-5)


COLUMN = [
    ({"loss": lambda p, b: small.loss(p, b)[:, None]}, {}, r"`loss` got shape \(8, 1\)"),
    (
        {"metrics": {"m": lambda p, b: small.error(p, b)[:, None]}},
        {},
        r"`metrics\['m'\]` got shape \(8, 1\)",
    ),
    (
        {"metrics": {"m": lambda p, b: jnp.mean(small.error(p, b))}},
        {},
        r"`metrics\['m'\]` got shape \(\)",
    ),
    ({"loss": lambda p, b: small.loss(p, b)[:3]}, {}, r"a vector of 8; `loss` got shape \(3,\)"),
    ({}, {"weight": KEPT[:, None]}, r'batch\["weight"\] must be float\[n\].*got shape \(8, 1\)'),
    ({}, {"weight": jnp.ones(())}, r"must be float\[n\], one weight .*got shape \(\)"),
    ({}, {"weight": KEPT[:3]}, r'batch\["weight"\] must be float\[8\].*got shape \(3,\)'),
    ({"examples": "n"}, {}, r"must have the entry 'n', which `examples` names; got \['x', 'y'\]"),
]


@pytest.mark.parametrize(("parts", "more", "message"), COLUMN)
def test_what_is_not_one_value_for_each_example_is_refused(parts, more, message):
    loop = small.make(**parts)
    state, batch = small.start(loop), BATCH | more
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda state: train_step(loop, state, batch), state)
        jax.eval_shape(lambda state: eval_step(loop, state, batch), state)


def test_a_column_of_weights_is_refused_before_a_hook_uses_it():
    loop = small.make(hooks.mixup(classes=3, inputs="x", label="y"))
    batch = BATCH | {"y": jnp.zeros(8, jnp.int32), "weight": KEPT[:, None]}
    with pytest.raises(ValueError, match=r'batch\["weight"\] must be float\[n\]'):
        jax.eval_shape(lambda state: train_step(loop, state, batch), small.start(loop))


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
@pytest.mark.parametrize("name", ["train", "valid"])
def test_weights_that_are_none_are_refused_before_a_fit(name, bad):
    weight = np.asarray(KEPT).copy()
    loop, good = small.make(), [BATCH | {"weight": np.asarray(KEPT)}]
    batches = {"train": good, "valid": good} | {name: [BATCH | {"weight": weight}]}
    weight[3] = bad
    with pytest.raises(ValueError, match=rf'batch\["weight"\] of `{name}` must be finite and not'):
        fit(loop, small.start(loop), **batches, epochs=1)


# --- the size of a batch ---


def test_one_definition_of_the_number_of_examples():
    edges, label = np.zeros((9, 2)), np.zeros(4)
    assert count_examples({"edges": edges, "label": label}) == 4
    assert count_examples({"edges": edges, "label": label, "weight": np.zeros(3)}) == 3
    assert count_examples({"a": 0.5, "x": label, "y": jnp.zeros((4, 2)), "none": None}) == 4
    assert count_examples((label, label)) == 4 and count_examples(label) == 4
    assert count_examples({"edges": edges, "y": label}) is None
    assert count_examples({"edges": edges, "y": label}, "y") == 4
    assert count_examples({"label": {"a": label, "b": label}, "x": edges}) == 4
    assert count_examples({"rate": 0.5}) is None and count_examples({}) is None
    with pytest.raises(ValueError, match="the entry 'label' of a batch must have one value"):
        count_examples({"label": 3, "x": label})
    with pytest.raises(ValueError, match=r"must have the entry 'y'.* got tuple"):
        count_examples((label, label), "y")


def test_rows_of_a_data_set_with_arrays_of_other_lengths_and_numbers():
    data = {"edges": np.zeros((9, 2)), "label": np.arange(4), "rate": 0.5}
    rows = take(data, np.array([3, 1]))
    assert rows["label"].tolist() == [3, 1] and rows["rate"] == 0.5
    assert rows["edges"].shape == (9, 2)
    filled, order = padded_order(data, batch_size=3)
    assert filled["weight"].tolist() == [1, 1, 1, 1, 0] and order.tolist() == [[0, 1, 2], [3, 4, 4]]
    assert filled["edges"].shape == (9, 2) and filled["label"].tolist() == [0, 1, 2, 3, 0]


def graphs(n, edges):
    """`n` graphs whose nodes' values are summed by the edges' sources; a number stands first."""
    rng = np.random.default_rng(n)
    return {
        "a_number": 0.5,
        "edges": rng.integers(0, n, (edges, 2)),
        "x": jnp.asarray(rng.standard_normal((n, 3)), jnp.float32),
        "y": jnp.asarray(rng.standard_normal(n), jnp.float32),
    }


def graph_net(params, model_state, batch, *, key, training):
    x = batch["x"].at[batch["edges"][:, 0]].add(0.1)
    return x @ params["w"], model_state


def test_accumulation_beside_arrays_of_other_lengths_and_numbers():
    """The step after 4 and 2 graphs is that of their mean; the edges, 9 and 5, don't matter."""
    tx = gradtx.sgd(0.1)
    loop = Loop(graph_net, small.loss, tx, hooks=[hooks.accumulate_gradients(6)])
    parts = [graphs(4, 9), graphs(2, 5)]
    state = loop.init({"w": jnp.ones(3)})
    for batch in parts:
        state, _ = step(loop, state, batch)

    def mean(params):
        losses = [
            small.loss(graph_net(params, {}, b, key=None, training=True)[0], b) for b in parts
        ]
        return jnp.mean(jnp.concatenate(losses))

    want = 1 - 0.1 * jax.grad(mean)({"w": jnp.ones(3)})["w"]
    np.testing.assert_allclose(state.params["w"], want, rtol=1e-5)
    np.testing.assert_allclose(float(state.metrics.train_weight), 6)


# --- the epoch's mean ---


def test_the_epochs_mean_is_that_of_its_losses_by_weight():
    weights = [KEPT, 0 * KEPT, 3 * KEPT]
    train = [b | {"weight": w} for b, w in zip(small.batches()(0, 0), weights, strict=True)]
    loop = small.make()
    _, history = fit(loop, small.start(loop), train, epochs=2)
    losses = history.steps["loss"].reshape(2, 3).astype(np.float64)
    assert np.isnan(losses).tolist() == [[False, True, False]] * 2
    for row, loss in zip(history.rows, losses, strict=True):
        assert row["train_loss_mean"] == pytest.approx((loss[0] + 3 * loss[2]) / 4, rel=1e-6)


def test_the_epochs_mean_is_the_same_in_a_compiled_fit():
    loop = small.make()
    _, history = small.run(loop)
    _, logs, rows = small.run_compiled(loop)
    for i, row in enumerate(history.rows):
        assert row["train_loss_mean"] == rows["train_loss_mean"][i]
        assert row["train_loss_mean"] == pytest.approx(float(logs["loss"][i].mean()), rel=1e-6)
    assert history.rows[1]["train_loss"] > history.rows[1]["train_loss_mean"]  # it lies behind


# --- adding a constant to the loss ---


def test_a_constant_added_to_the_loss_changes_no_decision(constant=-16.0):
    """Of the watching hooks, of those that look for what is not finite, and of the parameters."""
    guards = [
        hooks.early_stopping(min_delta=0.05),
        hooks.reduce_on_plateau(min_delta=0.05),
        hooks.save_best("train_loss_mean"),
        hooks.terminate_on_nan(),
        hooks.skip_nonfinite(),
    ]
    moved = lambda pred, batch: small.loss(pred, batch) + constant
    plain, other = small.make(*guards), small.make(*guards, loss=moved)
    (one, a), (two, b) = small.run(plain), small.run(other)
    close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    close(one.params["w1"], two.params["w1"])
    for name in ("train_loss", "train_loss_mean", "valid_loss"):
        close([row[name] + constant for row in a.rows], [row[name] for row in b.rows])
    assert int(one.hooks["save_best"].epoch) == int(two.hooks["save_best"].epoch) >= 0
    for name in ("early_stopping", "reduce_on_plateau"):
        assert int(one.hooks[name].wait) == int(two.hooks[name].wait)


# --- no NaN where nothing is wrong ---


def guards():
    return [
        hooks.early_stopping("train_loss", patience=5),
        hooks.save_best("train_loss", restore=True),
        hooks.reduce_on_plateau("train_loss", patience=5),
        hooks.skip_nonfinite(),
        hooks.terminate_on_nan(),
        hooks.ema_params(0.9),
        hooks.clip_gradients(1.0),
        small.request("before_batch", gradtx.loop.Request.SKIP_BATCH, 0, name="skip"),
        small.request("after_batch", gradtx.loop.Request.END_PHASE, 4, name="end"),
    ]


@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.thorough)]
)
def test_a_fit_that_is_well_makes_no_nan_and_no_infinity(dtype):
    """Also where batches are skipped, phases ended and nothing is validated."""
    params = jax.tree.map(lambda x: x.astype(dtype), small.params())
    wide = lambda p, *args, **how: small.apply(
        jax.tree.map(lambda x: x.astype(jnp.float32), p), *args, **how
    )
    with jax.debug_nans(True), jax.debug_infs(True):
        loop = small.make(*guards(), apply=wide)
        state = loop.init(params, small.model_state())
        _, history = fit(loop, state, small.batches(), epochs=2)
        _, _, rows = small.compiled(loop, state, small.DATA, small.orders())
    assert np.isnan(history.rows[0]["valid_loss"]) and rows["valid_loss"].tolist() == [0, 0]
    assert np.isnan(history.steps["loss"]).tolist() == [True] + [False] * 4
