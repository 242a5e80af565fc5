"""The tables of docs/fastai.md about trainings: gradtx's cells give what fastai's cells gave."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradtx import hyperparams, presets
from gradtx.loop import Hook, Loop, fit
from gradtx.observers import read_jsonl
from tests.docs.fastai_cells import RECORD, REQUEST_AT_STEP, REQUESTED_AT, inputs_of, spoilt
from tests.docs.switches import switched, turn_on
from tests.loop.small import context, numbers
from tests.markdown import ROOT, equivalences, executed

PAGE = ROOT / "docs" / "fastai.md"
CELLS = json.loads(RECORD.read_text())
RERUN = "run `python -m tests.golden.record_fastai_tables`"
KINDS = ("learner", "values", "requests", "order", "callbacks")
TABLES = {kind: {r.left: r for r in equivalences(PAGE, f"fastai {kind}")} for kind in KINDS}
OBSERVERS = ("CSVLogger()", "ProgressCallback()")
RECURRENT = ("ModelResetter()", "RNNRegularizer(alpha, beta)")
ALONE = [
    left for left in TABLES["callbacks"] if left not in ("MixUp(alpha)", *RECURRENT, *OBSERVERS)
]
HOOKS = [*TABLES["requests"], *TABLES["order"], *ALONE]


@pytest.fixture(scope="module")
def page():
    return SimpleNamespace(**executed(PAGE)[0])


def cell(page, kind, left, **more):
    """What the gradtx cell of a row is."""
    (code,) = TABLES[kind][left].right
    return eval(code, vars(page) | more)


def recorded(left):
    assert left in CELLS["cells"], f"docs/fastai.md: {left} is not recorded; {RERUN}"
    return CELLS["cells"][left]


def same(got, want):
    """As near as float32 comes to float64 in twenty steps."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=2e-4, atol=2e-5)


def same_params(got, want):
    want = jax.tree.map(np.asarray, want, is_leaf=lambda x: isinstance(x, list))
    jax.tree.map(same, got, want)


def same_training(page, state, history, want):
    same_params(state.params, want["params"])
    columns = [name for name in want["columns"] if name not in ("epoch", "time")]
    rows = [[row[name] for name in columns] for row in history.rows]
    same(rows[-len(want["rows"]) :], want["rows"])  # fastai's are of the last fit
    same(history.steps["train_loss"][-len(want["losses"]) :], want["losses"])
    rates, groups = history.steps["learning_rate"], np.asarray(want["learning_rate"]).T
    rates = [rates[name] for name in page.groups.rules] if isinstance(rates, dict) else [rates]
    same(np.broadcast_to(np.stack(rates), groups.shape), groups)
    same(history.steps["b1"], want["momentum"])


def train(page, loop, state=None, *, batches=None, **how):
    state = loop.init(page.params) if state is None else state
    batches = page.train if batches is None else batches
    return fit(loop, state, batches, page.valid, epochs=page.n, **how)


def test_the_record_is_of_this_page(page):
    assert inputs_of(vars(page)) == CELLS["inputs"], RERUN
    marks = ("fastai", "fastai schedules", *(f"fastai {kind}" for kind in KINDS))
    rows = {row.left for mark in marks for row in equivalences(PAGE, mark)}
    assert rows == set(CELLS["cells"]), RERUN


@pytest.mark.parametrize("left", TABLES["learner"])
def test_a_learner_trains_the_same(left, page):
    value = cell(page, "learner", left)
    if isinstance(value, optax.GradientTransformation):
        value = Loop(apply=page.apply, loss=page.loss, tx=value, metrics=page.metrics)
    state, history = train(page, value) if isinstance(value, Loop) else value
    same_training(page, state, history, recorded(left))
    if isinstance(value, tuple):  # what a recipe has scheduled is put back, which fastai does not
        assert hyperparams(state) == hyperparams(page.state)
        if "fit_one_cycle" in left:
            assert 0.94 < recorded(left)["momentum_left"] < 0.95


def requesting(page, left):
    """A hook that does what a cell says: once, or at every batch where that is no request."""

    def act(state, m):
        when = m.training & (m.step == REQUEST_AT_STEP)
        if "Valid" in left:
            when = jnp.asarray(not m.training) & (m.epoch == 0)
        return state, cell(page, "requests", left, context=m, when=when)

    return Hook(left, {REQUESTED_AT[left]: act})


@pytest.fixture(scope="module")
def everything(page):
    """A loop with every hook of the tables, all of them off, and its state."""
    hooks = [requesting(page, left) for left in TABLES["requests"]]
    hooks += [cell(page, "order", left) for left in TABLES["order"]]
    hooks += [cell(page, "callbacks", left) for left in ALONE]
    parts = {"apply": page.apply, "loss": page.loss, "metrics": page.metrics}
    loop = Loop(**parts, tx=page.tx, hooks=switched(hooks))
    return loop, loop.init(page.params)


def with_hooks(everything, *lefts):
    loop, state = everything
    return loop, turn_on(state, *[HOOKS.index(left) for left in lefts])


def test_without_its_hooks_that_loop_is_the_plain_one(page, everything):
    """So each of the following tests is about the hooks that it turns on."""
    state, history = train(page, *everything)
    same_training(page, state, history, recorded("learn.fit(n, lr)"))


@pytest.mark.parametrize("left", TABLES["requests"])
def test_a_request_has_the_same_effect(left, page, everything):
    state, _ = train(page, *with_hooks(everything, left))
    want, plain = recorded(left), recorded("learn.fit(n, lr)")
    same_params(state.params, want["params"])
    assert int(state.opt_state.count) == want["updates"]
    if "Valid" not in left:
        assert not np.allclose(want["params"]["head"]["bias"], plain["params"]["head"]["bias"])


@pytest.mark.parametrize("left", TABLES["order"])
def test_order_is_before_or_after(left, page, everything):
    state, history = train(page, *with_hooks(everything, left, "GradientClip(max_norm)"))
    same_training(page, state, history, recorded(left))


def test_what_is_recorded_of_the_order_and_of_callbacks_tells_them_apart():
    early, late = (recorded(left)["losses"] for left in TABLES["order"])
    assert not np.allclose(early, late, rtol=2e-4)
    plain = recorded("learn.fit(n, lr)")
    for left in ALONE:
        losses, params = recorded(left)["losses"], recorded(left)["params"]
        assert len(losses) < 20 or not np.allclose(
            params["head"]["bias"], plain["params"]["head"]["bias"]
        )
    assert not np.allclose(*(recorded(left)["losses"] for left in RECURRENT))


@pytest.mark.parametrize("left", [left for left in ALONE if "NaN" not in left])
def test_a_callback_trains_the_same(left, page, everything):
    state, history = train(page, *with_hooks(everything, left))
    same_training(page, state, history, recorded(left))


def test_terminate_on_nan_ends_at_the_same_batch_but_before_its_step(page, everything):
    left, bad = "TerminateOnNaNCallback()", spoilt(page.batches)[:5]
    want = recorded(left)
    state, history = train(page, *with_hooks(everything, left), batches=bad)
    assert len(want["learning_rate"]) == len(history.steps["loss"]) == 4
    assert np.isnan(want["params"]["head"]["bias"]).all()
    same(history.steps["train_loss"][:3], want["losses"])
    before, _ = fit(page.loop, page.state, bad[:3], epochs=1)
    jax.tree.map(same, state.params, before.params)


@pytest.fixture(scope="module")
def recurrent(page):
    loop = Loop(
        apply=page.recurrent,
        loss=lambda pred, batch: page.loss(pred.pred, batch),
        tx=presets.fastai_adam(page.lr),
        metrics={"error": lambda pred, batch: page.metrics["error"](pred.pred, batch)},
        hooks=switched([cell(page, "callbacks", left) for left in RECURRENT]),
    )
    return loop, loop.init(page.rnn_params, page.carry)


@pytest.mark.parametrize("left", RECURRENT)
def test_a_callback_of_a_recurrent_model_trains_the_same(left, page, recurrent):
    loop, state = recurrent
    state, history = train(page, loop, turn_on(state, RECURRENT.index(left)))
    same_training(page, state, history, recorded(left))


def test_mixup_mixes_with_the_same_shares(page):
    label = np.arange(4000) % 3
    batch = {"image": jax.nn.one_hot(label, 3), "label": jnp.asarray(label)}
    hook = cell(page, "callbacks", "MixUp(alpha)")
    act = jax.jit(lambda batch: hook.on["before_batch"]((), context(page.state, batch))[1].batch)
    mixed = act(batch)
    np.testing.assert_allclose(mixed["image"], mixed["label"], rtol=1e-6)
    share = np.take_along_axis(np.asarray(mixed["label"]), label[:, None], axis=1)[:, 0]
    share = share[share < 1 - 1e-6]  # the others are mixed with one of their own class
    assert 0.6 < len(share) / len(label) < 0.7
    got = np.quantile(share, np.linspace(0, 1, 11))
    np.testing.assert_allclose(got, recorded("MixUp(alpha)")["share"], atol=0.03)


def test_csv_logger_and_jsonl_write_the_same_rows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(page, page.loop, page.state, observers=[cell(page, "callbacks", "CSVLogger()")])
    rows = read_jsonl("metrics.jsonl").rows
    header, *lines = [line.split(",") for line in recorded("CSVLogger()")["text"].split()]
    assert len(rows) == len(lines) == page.n
    for name, *column in zip(header, *lines, strict=True):
        if name != "time":
            same([row[name] for row in rows], np.asarray(column, float))


def test_progress_shows_the_same_table(page, capsys):
    left = "ProgressCallback()"
    train(page, page.loop, page.state, observers=[cell(page, "callbacks", left)])
    header, *lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert header == recorded(left)["columns"]
    shown = [[float(x) for x in line[1:4]] for line in lines if line[0].isdigit()]
    np.testing.assert_allclose(shown, recorded(left)["rows"], atol=1e-3)


@pytest.mark.parametrize("left", [left for left in TABLES["values"] if left.startswith("slice")])
def test_a_slice_of_learning_rates_is_spread_the_same(left, page):
    rates = list(cell(page, "values", left).values.values())
    np.testing.assert_allclose(rates, recorded(left), rtol=1e-12)


def test_the_recorder_is_the_history(page):
    losses, values = "learn.recorder.losses", "learn.recorder.values"
    same(cell(page, "values", losses), recorded(losses))
    rows = cell(page, "values", values)
    mean = {"train_loss_mean"}  # which fastai does not have
    rows = [{k: v for k, v in row.items() if k not in mean} for row in rows]
    assert list(rows[0]) == recorded("learn.fit(n, lr)")["columns"]
    same([list(row.values())[1:-1] for row in rows], recorded(values))


def test_lr_find_gives_the_same_and_leaves_the_state(page):
    (left,) = [left for left in TABLES["values"] if "lr_find" in left]
    before = numbers(page.state)
    found, want = cell(page, "values", left), recorded(left)
    jax.tree.map(np.testing.assert_array_equal, numbers(page.state), before)
    np.testing.assert_allclose(found.learning_rates, want["rates"], rtol=1e-6)
    same(found.losses, want["losses"])
    assert found.suggestions == pytest.approx(want["suggestions"], rel=1e-6)


def test_half_precision_has_a_scale_and_is_nearly_the_same(page):
    """fastai's own needs a GPU. The rule of the scale is compared with PyTorch's in test_torch."""
    state = page.mixed_state
    skipped = int(state.hooks["loss_scaling"].skipped)
    assert int(state.opt_state.count) == len(page.train) * page.n - skipped
    assert float(state.hooks["loss_scaling"].scale) == 2.0 ** (16 - skipped)
    args, how = (page.params, {}, page.valid[0]), {"key": jax.random.key(0), "training": False}
    with jax.numpy_dtype_promotion("standard"):
        (low, _), (full, _) = page.half(*args, **how), page.apply(*args, **how)
    assert low.dtype == jnp.float32 and 0 < np.abs(low - full).max() < 1e-2
