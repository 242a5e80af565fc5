"""The host loop, the compiled fit and the population mean the same; resuming, compiling once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import gradtx
from gradtx import hooks
from gradtx.loop import (
    EVENTS,
    Hook,
    Level,
    Observer,
    Request,
    Rows,
    compiled_epoch,
    compiled_fit,
    epoch_order,
    fit,
    population,
    take,
    with_nan,
)
from tests.loop import small
from tests.loop.script_loop import LOOP, first_state, fits, with_script

REQUESTS = list(Request)
asks = st.tuples(
    st.sampled_from(EVENTS),
    st.integers(0, 4),
    st.sampled_from(REQUESTS),
    st.sampled_from([1.0, 0.5, -2.0, float("inf")]),
)


@settings(max_examples=4)
@given(st.lists(st.lists(asks, min_size=1, max_size=2), min_size=8, max_size=8))
def test_host_compiled_fit_and_a_member_of_a_population_are_bit_identical(cases):
    """Whatever hooks ask for and change, at whatever event; non-finite numbers too."""
    for case, (state, logs, rows) in zip(cases, fits(cases), strict=True):
        host, history = small.run(LOOP, with_script(first_state(), *case))
        small.assert_same(small.numbers(host), state)
        logs, rows = with_nan(logs), with_nan(rows)
        alive = logs["alive"].reshape(-1)
        for name, values in history.steps.items():
            np.testing.assert_array_equal(values, logs[name].reshape(-1)[alive])
        for i, row in enumerate(history.rows):
            for name, values in rows.items():
                np.testing.assert_array_equal(np.float32(row[name]), np.float32(values[i]))


@pytest.mark.parametrize(
    "change, got",
    [
        (lambda order: order + 1000, "orders` must be indices of the"),
        (lambda order: order - 1000, "orders` must be indices of the"),
        (lambda order: order.astype(jnp.float32), "orders` must be int32.epochs, steps, B."),
        (lambda order: order[0], "orders` must be int32.epochs, steps, B."),
    ],
    ids=["above", "below", "floats", "axes"],
)
def test_an_order_of_what_is_not_there_is_refused(change, got):
    loop, orders = small.make(), change(small.orders(2))
    states = jax.tree.map(lambda x: x[None], small.start(loop))
    with pytest.raises(ValueError, match=f"compiled_fit: `{got}"):
        compiled_fit(loop, small.start(loop), small.DATA, orders)
    with pytest.raises(ValueError, match=f"compiled_fit: `{got}"):  # where all else is traced
        population(loop, states, small.DATA, orders)


def test_a_validation_order_of_what_is_not_there_is_refused():
    loop, orders = small.make(), small.orders(1)
    with pytest.raises(ValueError, match="`valid_order` must be indices of the"):
        far = small.VALID_ORDER + 1000
        compiled_fit(loop, small.start(loop), small.DATA, orders, small.DATA, far)


READY = {
    "terminate_on_nan": hooks.terminate_on_nan,
    "skip_nonfinite": hooks.skip_nonfinite,
    "accumulate_gradients": lambda: hooks.accumulate_gradients(12),
    "clip_gradients": lambda: hooks.clip_gradients(0.5),
    "early_stopping": hooks.early_stopping,
    "reduce_on_plateau": hooks.reduce_on_plateau,
    "ema_params": lambda: hooks.ema_params(0.9),
    "save_best": lambda: hooks.save_best(restore=True),
    "loss_scaling": lambda: hooks.loss_scaling(interval=2),
    "schedule": lambda: hooks.schedule_hyperparams(learning_rate=lambda n: 0.1 / (n + 1.0)),
    "skip": lambda: small.request("after_backward", Request.SKIP_BATCH, 1, name="skip"),
    "end": lambda: small.request("before_step", Request.END_PHASE, 4, name="end"),
}


@settings(max_examples=1, phases=[Phase.explicit, Phase.generate])
@given(st.permutations(sorted(READY)), st.integers(6, len(READY)))
def test_host_and_compiled_fit_are_bit_identical_with_the_ready_hooks(names, n):
    loop = small.make(*[READY[name]() for name in names[:n]])
    host, history = small.run(loop)
    compiled, _, rows = small.run_compiled(loop)
    small.assert_same(host, compiled)
    last = {name: float(value[-1]) for name, value in with_nan(rows).items()}
    got = {name: value for name, value in history.rows[-1].items() if name != "time"}
    columns = ["epoch", "train_loss", "train_loss_mean", "valid_loss", "error", "time"]
    assert list(history.rows[-1]) == columns
    np.testing.assert_equal(got, last)


def test_a_population_by_vmap_is_close_to_one_by_map():
    loop = small.make()
    member = lambda rate: gradtx.set_hyperparams(small.start(loop), learning_rate=rate)
    states = jax.vmap(member)(jnp.asarray([0.01, 0.1]))
    data = small.DATA, small.orders(1)
    run = jax.jit(population, static_argnums=0, static_argnames="how")
    one, _, rows = run(loop, states, *data, how="map")
    many, _, _ = run(loop, states, *data, how="vmap")
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, small.numbers(one.params), small.numbers(many.params))
    assert rows["train_loss"][0, 0] != rows["train_loss"][1, 0]
    with pytest.raises(ValueError, match=r"population: `how` must be .* got 'pmap'"):
        population(loop, states, *data, how="pmap")


def test_the_data_of_a_compiled_fit_may_be_numpy_arrays():
    loop = small.make()
    state, orders = small.start(loop), small.orders(1)
    on_host = jax.tree.map(np.asarray, small.DATA)
    new, _, _ = compiled_fit(loop, state, on_host, orders)
    want, _, _ = compiled_fit(loop, state, small.DATA, orders)
    jax.tree.map(np.testing.assert_array_equal, new.params, want.params)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop", [1, small.STEPS, small.STEPS + 2])
def test_resuming_within_an_epoch_is_the_same_as_never_having_stopped(stop):
    """The state is copied after batch number `stop` of the fit, which is then killed."""
    saved = []

    def save(report):
        if int(report.state.step) == stop:
            saved.append(jax.tree.map(jnp.copy, report.state))
            raise Stopped

    change = ("before_step", 3, Request.SKIP_STEP, 0.5)
    whole, history = small.run(LOOP, with_script(first_state(), change))
    with pytest.raises(Stopped):
        observers = [Observer({"after_batch": save})]
        small.run(LOOP, with_script(first_state(), change), observers=observers)
    assert int(saved[0].level) == Level.TRAIN
    resumed, rest = small.run(LOOP, saved[0])
    small.assert_same(resumed, whole)
    np.testing.assert_array_equal(rest.steps["loss"], history.steps["loss"][stop:])


@pytest.mark.parametrize("event", ["before_fit", "before_epoch", "before_validate", "after_epoch"])
def test_resuming_from_the_edges_of_phases(event):
    saved = []
    keep = lambda report: saved.append(jax.tree.map(jnp.copy, report.state))
    whole, _ = small.run(LOOP, first_state(), observers=[Observer({event: keep})])
    for state in saved:
        small.assert_same(small.run(LOOP, state)[0], whole)


def test_the_given_state_stays_as_it_is():
    state = first_state()
    before = small.numbers(state)
    small.run(LOOP, state)
    small.assert_same(small.numbers(state), before)
    given_away = jax.tree.map(jnp.copy, state)
    small.run(LOOP, given_away, donate=True)
    assert given_away.params["w1"].is_deleted()


def test_the_step_is_traced_once_in_a_fit_and_never_again():
    traces = []

    def apply(*args, training, **how):
        traces.append(training)
        return small.apply(*args, training=training, **how)

    loop = small.make(apply=apply)
    state, _ = small.run(loop)
    assert traces == [True, False]
    state, _ = small.run(loop, gradtx_set(state))
    assert traces == [True, False]


def gradtx_set(state):
    return state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, learning_rate=0.3))


def test_observers_are_told_of_every_training_batch_and_of_no_other():
    """Nothing of the extra step that the host starts before it knows that the phase is over."""
    seen = []
    on = {
        "before_fit": lambda r: seen.append(("before_fit", r.epoch)),
        "after_batch": lambda r: seen.append((r.epoch, r.batch, bool(r.log["alive"]))),
        "before_validate": lambda r: seen.append(("before_validate", r.epoch)),
        "after_epoch": lambda r: seen.append(("after_epoch", r.row["epoch"])),
        "after_fit": lambda r: seen.append(("after_fit", len(r.history.rows))),
    }
    state = with_script(first_state(), ("after_batch", 1, Request.END_PHASE))
    small.run(LOOP, state, observers=[Observer(on)])
    first = [(0, 1, True), (0, 2, True)]
    second = [(1, 1, True), (1, 2, True), (1, 3, True)]
    ends = (
        [("before_validate", 0), ("after_epoch", 0)],
        [("before_validate", 1), ("after_epoch", 1)],
    )
    fits_ = [("before_fit", 0), *first, *ends[0], *second, *ends[1], ("after_fit", 2)]
    assert seen == fits_
    with pytest.raises(ValueError, match=r"Observer: .* got 'after_loss'"):
        Observer({"after_loss": print})


def test_batches_may_be_a_list_and_validation_may_be_missing():
    epoch = small.batches(1)(0, 0)
    loop = small.make()
    state, history = fit(loop, small.start(loop), epoch, epochs=2)
    assert int(state.step) == 2 * small.STEPS
    assert np.isnan(history.rows[0]["valid_loss"]) and np.isfinite(history.rows[0]["train_loss"])
    _, logs, row = jax.jit(compiled_epoch, static_argnums=0)(
        loop, loop.init(small.params(), small.model_state()), small.DATA, small.orders(1)[0]
    )
    np.testing.assert_array_equal(logs["loss"], history.steps["loss"][: small.STEPS])
    assert row["valid_loss"] == 0 and not row["known"]["valid_loss"]
    assert np.isnan(with_nan(row)["valid_loss"])


def test_fit_refuses_what_would_silently_train_on_nothing():
    loop = small.make()
    state = small.start(loop)
    with pytest.raises(ValueError, match=r"fit: `epochs` must be positive; got 0"):
        fit(loop, state, small.batches(1), epochs=0)
    with pytest.raises(ValueError, match=r"fit: `train` .* got an iterator \(list_iterator\)"):
        fit(loop, state, iter(small.batches(1)(0, 0)), epochs=2)
    with pytest.raises(ValueError, match=r"fit: `train` must give batches; got none in epoch 0"):
        fit(loop, state, [], epochs=1)
    late = state.replace(level=jnp.int32(Level.FIT), epoch=jnp.int32(3))
    with pytest.raises(ValueError, match=r"fit: `epochs` .* got 2 after 3 epochs"):
        fit(loop, late, small.batches(2), epochs=2)


def test_the_order_of_an_epoch_is_a_permutation_in_full_batches():
    order = epoch_order(jax.random.key(0), examples=10, batch_size=3)
    assert order.shape == (3, 3) and len(set(np.asarray(order).ravel().tolist())) == 9
    with pytest.raises(ValueError, match=r"epoch_order: needs one full batch .* batch_size=4"):
        epoch_order(jax.random.key(0), examples=3, batch_size=4)
    rows = take({"x": jnp.arange(5)}, jnp.array([4, 0]))
    assert rows["x"].tolist() == [4, 0]


def test_seeds_may_be_numbers_keys_or_traced():
    loop = small.make()
    by_number, by_key = small.start(loop, seed=3), small.start(loop, seed=jax.random.key(3))
    many = jax.vmap(lambda seed: small.start(loop, seed=seed))(jnp.arange(5))
    small.assert_same(by_number.key, by_key.key)
    small.assert_same(by_number.key, many.key[3])


def test_hooks_can_be_added_to_a_state_and_taken_away():
    loop = small.make()
    state = small.start(loop)
    _, with_more = loop.with_hooks(state, [Hook("count", {}, init=lambda s: jnp.asarray(1.0))])
    assert with_more.hooks["count"].weak_type is False
    small.assert_same(loop.without_hooks(with_more), state)
    with pytest.raises(ValueError, match=r"Hook 'c'.*must hold this hook's state; got only \[\]"):
        step = Hook("c", {"before_fit": lambda s, m: (s, m)})
        small.run(small.make(step), state)


def test_rows_of_a_data_set_on_the_device_are_the_batches_that_they_select():
    """In training and in validation; what is beside the rows comes with them."""
    loop = small.make()
    weight = np.linspace(0.5, 1.5, small.BATCH, dtype=np.float32)
    rows = [Rows(small.DATA, row, {"weight": weight}) for row in small.orders(1)[0]]
    batches = [take(small.DATA, row) | {"weight": weight} for row in small.orders(1)[0]]
    a, one = fit(loop, small.start(loop), rows, rows[:1], epochs=2)
    b, two = fit(loop, small.start(loop), batches, batches[:1], epochs=2)
    small.assert_same(a.params, b.params)
    np.testing.assert_allclose(one.rows[1]["valid_loss"], two.rows[1]["valid_loss"], rtol=1e-6)
