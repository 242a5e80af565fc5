"""The tables of docs/keras.md: gradtx's cells give what Keras's cells gave."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.loop import Hook, Loop, fit, train_step
from tests.docs.fastai_cells import UPDATES
from tests.docs.keras_cells import BATCHES, EPOCHS, OVERFLOWS, RECORD, inputs_of, spoilt
from tests.docs.switches import switched, turn_on
from tests.markdown import ROOT, equivalences, executed
from tests.transforms.trajectories import assert_same, gradtx_run

PAGE = ROOT / "docs" / "keras.md"
GOLDEN = ROOT / "tests" / "golden"
TABLES = json.loads((GOLDEN / "keras_tables.json").read_text())
FIT = json.loads(RECORD.read_text())
GRADS = json.loads((GOLDEN / "torch_optimizers.json").read_text())
ROWS = {
    kind: {row.left: row.right for row in equivalences(PAGE, f"keras {kind}".strip())}
    for kind in ("", "schedules", "fit", "values", "callbacks", "scale")
}
RERUN = "run tests/golden/record_keras_tables.py and record_keras_fit.py"


def arrays(tree):
    return {key: np.asarray(x) for key, x in tree.items()}


@pytest.fixture(scope="module")
def page():
    return SimpleNamespace(**executed(PAGE)[0])


def test_the_records_are_of_this_page(page):
    assert inputs_of(vars(page)) == FIT["inputs"], RERUN
    assert set(ROWS[""]) == set(TABLES["optimizers"]), RERUN
    assert set(ROWS["schedules"]) == set(TABLES["schedules"]), RERUN
    for kind in ("fit", "values", "callbacks", "scale"):
        assert set(ROWS[kind]) == set(FIT[kind]), RERUN


@pytest.mark.parametrize("left", ROWS[""])
def test_optimizers_have_the_same_numbers(left):
    start, grads = arrays(GRADS["start"]), [arrays(g) for g in GRADS["grads"]]
    # Where Keras's epsilon stands elsewhere, the page says.
    how = {"rtol": 0, "atol": 4e-7} if "Adam" in left else {"rtol": 1e-9, "atol": 1e-12}
    for code in ROWS[""][left]:
        with (
            jax.enable_x64(True),
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
        ):
            got = gradtx_run(eval(code, {"gradtx": gradtx}), start, grads, jit=True)[0]
        assert_same(got, [arrays(p) for p in TABLES["optimizers"][left]], **how)


@pytest.mark.parametrize("left", ROWS["schedules"])
def test_schedules_have_the_same_values(left):
    (code,) = ROWS["schedules"][left]
    with jax.numpy_dtype_promotion("standard"):
        schedule = eval(code, {"gradtx": gradtx})
        got = jax.jit(jax.vmap(schedule))(jnp.arange(UPDATES))
    np.testing.assert_allclose(got, TABLES["schedules"][left], rtol=1e-5, atol=1e-8)


def same(got, want):
    """As near as float32 comes to float64 in some steps."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=2e-3, atol=2e-4)


def same_fit(params, history, want, *, loss=True):
    jax.tree.map(same, params, jax.tree.map(np.asarray, want["params"], is_leaf=is_list))
    same([row["valid_loss"] for row in history.rows], want["val_loss"])
    if loss:
        same([row["train_loss_mean"] for row in history.rows], want["loss"])


def is_list(x):
    return isinstance(x, list)


@pytest.mark.thorough
@pytest.mark.parametrize("left", ROWS["fit"])
def test_a_fit_is_the_same(left, page):
    (code,) = ROWS["fit"][left]
    value, loop = eval(code, vars(page)), page.loop
    if isinstance(value, optax.GradientTransformation):
        value = Loop(page.apply, page.cross_entropy, value)
    if isinstance(value, Loop):
        loop = value
        value = fit(loop, loop.init(page.params), page.train, page.valid, epochs=4)
    state, history = value
    # Keras weighs its batches' losses by their examples, gradtx by their weight.
    by_examples = "mean_with_sample_weight" not in left
    same_fit(loop.evaluated_params(state), history, FIT["fit"][left], loss=by_examples)


@pytest.mark.parametrize("left", ROWS["values"])
def test_what_is_read_from_it_is_the_same(left, page):
    same(eval(ROWS["values"][left][0], vars(page)), FIT["values"][left])


@pytest.fixture(scope="module")
def everything(page):
    """A loop with the hooks of all callbacks, all off, its state, and the numbers of each row's."""
    hooks, numbers = [], {}
    for left, (code,) in ROWS["callbacks"].items():
        made = eval(code, vars(page))
        made = [made] if isinstance(made, Hook) else made
        numbers[left] = range(len(hooks), len(hooks) + len(made))
        hooks += made
    loop = Loop(page.apply, page.cross_entropy, page.tx, hooks=switched(hooks))
    return loop, loop.init(page.params), numbers


@pytest.mark.parametrize("left", ROWS["callbacks"])
def test_a_callback_does_the_same(left, page, everything):
    loop, state, numbers = everything
    state, train, want = turn_on(state, *numbers[left]), page.train, FIT["callbacks"][left]
    if "ended_at" in want:
        train = page.in_batches(x=spoilt(page.x), label=page.y)
    state, history = fit(loop, state, train, page.valid, epochs=EPOCHS)
    if "ended_at" not in want:
        assert len(history.rows) == len(want["loss"])
        return same_fit(state.params, history, want)
    (number,) = numbers[left]
    assert int(state.hooks[str(number)][1]) == want["ended_at"]
    assert int(state.step) == want["batches"] and len(history.rows) == 1


def test_the_loss_scale_is_the_same(page):
    ((left, (code,)),) = ROWS["scale"].items()
    loop = Loop(page.apply, page.cross_entropy, gradtx.sgd(0.0), hooks=[eval(code, vars(page))])
    step, state, got = jax.jit(train_step, static_argnums=0), loop.init(page.params), []
    for i in range(BATCHES):
        x = page.x[:8] * np.float32(np.inf if i in OVERFLOWS else 1)
        state, _ = step(loop, state, {"x": x, "label": page.y[:8]})
        got.append(float(state.hooks["loss_scaling"].scale))
    assert got == FIT["scale"][left]
