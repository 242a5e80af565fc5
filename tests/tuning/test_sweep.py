"""A sweep is as many separate fits; its validation counts every example once."""

import jax
import numpy as np
import pytest

import gradtx
from gradtx.loop import with_nan
from gradtx.tuning.sweep import padded_order, parse_spread, spread, sweep
from tests.loop import small

RATES = np.array([0.01, 0.05, 0.2], np.float32)
DATA = small.DATA, small.orders(2), small.DATA, small.VALID_ORDER


@pytest.fixture(scope="module")
def swept():
    loop = small.make()
    state = small.start(loop)
    before = small.numbers(state)
    result = sweep(loop, state, *DATA, learning_rate=RATES)
    small.assert_same(state, before)  # the state that was given is still there, unchanged
    return loop, result


def test_each_copy_is_a_fit_of_its_own(swept):
    loop, result = swept
    for i, rate in enumerate(RATES):
        state = gradtx.set_hyperparams(small.start(loop), learning_rate=rate)
        state, _, rows = small.run_compiled(loop, state)
        rows = with_nan(rows)
        small.assert_same(jax.tree.map(lambda x, i=i: x[i], result.states), state)
        assert result.rows.keys() == rows.keys()
        for name, values in rows.items():
            np.testing.assert_array_equal(result.rows[name][i], values)


def test_an_order_of_what_is_not_there_is_refused():
    loop = small.make()
    state, orders = small.start(loop), np.asarray(small.orders(2))
    with pytest.raises(ValueError, match="sweep: `orders` must be indices of the"):
        sweep(loop, state, small.DATA, orders + 1000, learning_rate=RATES)
    with pytest.raises(ValueError, match="sweep: `orders` must be indices of the"):
        sweep(loop, state, small.DATA, list(orders + 1000), learning_rate=RATES)
    with pytest.raises(ValueError, match="sweep: `valid_order` must be indices of the"):
        sweep(loop, state, *DATA[:3], small.VALID_ORDER + 1000, learning_rate=RATES)


def test_rows_are_by_copy_and_epoch(swept):
    rows = swept[1].rows
    assert {values.shape for values in rows.values()} == {(3, 2)}
    assert len(np.unique(rows["valid_loss"])) == 6
    assert all(isinstance(values, np.ndarray) for values in rows.values())


def test_side_by_side_is_the_same_to_rounding(swept):
    loop, one = swept
    many = sweep(loop, small.start(loop), *DATA, how="vmap", learning_rate=RATES)
    for name, values in one.rows.items():
        np.testing.assert_allclose(many.rows[name], values, rtol=1e-4)


def test_what_is_known_after_each_epoch_is_handed_out(swept):
    """For who ends the process before the last one."""
    loop, whole = swept
    seen = []
    each = lambda so_far: seen.append((so_far.rows, so_far.failed))
    sweep(loop, small.start(loop), *DATA, learning_rate=RATES, each=each)
    assert [rows["valid_loss"].shape for rows, _ in seen] == [(3, 1), (3, 2)]
    for name, values in whole.rows.items():
        np.testing.assert_array_equal(seen[0][0][name], values[:, :1])
    assert not seen[0][1].any()


def test_several_hyperparameters_also_by_group():
    groups = gradtx.label_by(bias=gradtx.norm_or_bias, others="*")
    decay = gradtx.by_group(groups, bias=0.0, others=0.01)
    state = gradtx.adamw(0.1, weight_decay=decay).init(small.params())
    states = spread(state, learning_rate=[0.5, 0.25], weight_decay={"others": [0.125, 1.0]})
    live = gradtx.hyperparams(states)
    np.testing.assert_array_equal(live["learning_rate"], [0.5, 0.25])
    np.testing.assert_array_equal(live["weight_decay"]["others"], [0.125, 1.0])
    np.testing.assert_array_equal(live["weight_decay"]["bias"], [0, 0])


@pytest.mark.parametrize(
    "values, said",
    [
        ({}, r"spread: hyperparameters must be 1-D arrays of one length; got none"),
        ({"learning_rate": 0.1}, r"one length; got .*learning_rate.*\(\)"),
        ({"learning_rate": []}, r"one length; got .*\(0,\)"),
        ({"learning_rate": [0.1], "b1": [0.8, 0.9]}, r"got b1 \(2,\), learning_rate \(1,\)\."),
        ({"warmth": [0.1]}, r"set_hyperparams: `warmth` must name one hyperparameter"),
        ({"b1": [0.9, 2.0]}, r"set_hyperparams: `b1` must be in \[0, 1\); got 2"),
    ],
)
def test_bad_values_are_errors_that_name_them(values, said):
    loop = small.make()
    with pytest.raises(ValueError, match=said):
        sweep(loop, small.start(loop), *DATA, **values)


def test_validation_data_and_order_go_together():
    loop = small.make()
    with pytest.raises(ValueError, match=r"sweep: `valid` and .*; got `valid` alone"):
        sweep(loop, small.start(loop), *DATA[:3], learning_rate=RATES)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 24, 25, 40])
def test_every_example_of_a_padded_order_counts_once(batch_size):
    x = np.arange(24.0, dtype=np.float32)
    data, order = padded_order({"x": x}, batch_size=batch_size)
    assert order.dtype == np.int32 and order.shape == (-(-24 // batch_size), batch_size)
    seen = data["x"][order.ravel()], data["weight"][order.ravel()]
    np.testing.assert_array_equal(seen[0][seen[1] > 0], x)
    assert seen[1].sum() == 24


def test_weights_that_the_data_has_stay():
    weight = np.array([2.0, 0.5], np.float32)
    data, order = padded_order({"x": np.ones(2), "weight": weight}, batch_size=3)
    np.testing.assert_array_equal(data["weight"], [2.0, 0.5, 0.0])
    np.testing.assert_array_equal(order, [[0, 1, 2]])
    assert weight[-1] == 0.5


def test_padded_validation_gives_the_exact_mean():
    loop = small.make()
    data, order = padded_order(small.DATA, batch_size=7)  # 24 examples: the last batch has 3
    states, rows, _ = sweep(
        loop, small.start(loop), *DATA[:2], data, order, learning_rate=RATES[:1]
    )
    params = jax.tree.map(lambda x: np.asarray(x[0], np.float64), states.params)
    x, y = (np.asarray(small.DATA[name], np.float64) for name in ("x", "y"))
    pred = (np.tanh(x @ params["w1"] + params["b"]) @ params["w2"])[:, 0]
    np.testing.assert_allclose(rows["valid_loss"][0, -1], np.mean((pred - y) ** 2), rtol=1e-5)


@pytest.mark.parametrize(
    "data, batch_size", [({}, 2), ({"x": np.ones(0)}, 2), ({"x": np.ones(2)}, 0)]
)
def test_an_order_of_nothing_is_an_error(data, batch_size):
    with pytest.raises(ValueError, match=r"padded_order: needs an example and a positive"):
        padded_order(data, batch_size=batch_size)


def test_a_spread_is_geometric_and_includes_both_ends():
    name, values = parse_spread("lr=1e-4:1e-1:4")
    assert name == "lr"
    np.testing.assert_allclose(values, [1e-4, 1e-3, 1e-2, 1e-1])


BAD = ["", "lr", "lr=1:2", "lr=1:2:3:4", "=1:2:3", "lr=a:2:3", "lr=0:1:3", "lr=2:1:3", "lr=1:2:1"]
BAD += ["lr=1:2:2.5", "lr=1:inf:3", "lr=nan:1:3", "lr=-2:-1:3", "lr=1=2:3:4"]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_spread_is_an_error_with_an_example(text):
    said = f"here must be NAME=LOW:HIGH:N, for example lr=1e-4:1e-1:8, with .* got '{text}'"
    with pytest.raises(ValueError, match=said):
        parse_spread(text, "here")
