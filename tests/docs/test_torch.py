"""The tables of docs/pytorch.md about steps and hooks: gradtx's cells give what PyTorch's gave."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import gradtx
from gradtx.loop import Hook, Loop, fit, train_step
from tests.docs.torch_cells import EPOCHS, LATER, RECORD, inputs_of, overflowing
from tests.markdown import ROOT, equivalences, executed

PAGE = ROOT / "docs" / "pytorch.md"
RECORDED = json.loads(RECORD.read_text())
RERUN = "run `python -m tests.golden.record_torch_loop`"
STEPS = [code for row in equivalences(PAGE, "torch steps") for code in row.right]
CHANGES = {row.left: row.right for row in equivalences(PAGE, "torch changes")}
HOOKS = {row.left: row.right for row in equivalences(PAGE, "torch hooks")}
SCALER, AVERAGE, PLATEAU = HOOKS


@pytest.fixture(scope="module")
def page():
    return SimpleNamespace(**executed(PAGE)[0])


def same(got, want):
    """As near as float32 comes to float64 in some steps."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, np.asarray(b), rtol=1e-4, atol=1e-5),
        got,
        jax.tree.map(np.asarray, want, is_leaf=lambda x: isinstance(x, list)),
    )


def test_the_record_is_of_this_page(page):
    assert inputs_of(vars(page)) == RECORDED["inputs"], RERUN
    assert set(CHANGES) == set(RECORDED["changes"]) and set(HOOKS) == set(RECORDED["hooks"]), RERUN


@pytest.mark.parametrize("change", ["plain", *CHANGES])
def test_steps_are_the_same(change, page):
    (code,) = CHANGES.get(change, ("",))
    want = RECORDED["plain"] if change == "plain" else RECORDED["changes"][change]
    names = dict(vars(page))
    if code and change not in LATER:
        exec(code, names)
        names["state"] = names["tx"].init(page.params)
    for i, batch in enumerate(page.data):
        names["batch"] = batch
        if LATER.get(change) == i:
            exec(code, names)
        for step in STEPS:
            exec(step, names)
        same(names["params"], want[i])
    unchanged = change == "plain" or "state_dict" in change
    plain = RECORDED["plain"][-1]["head"]["kernel"]
    assert np.allclose(want[-1]["head"]["kernel"], plain) == unchanged


def trained(page, loop, batches):
    """The state after each batch."""
    step = jax.jit(train_step, static_argnums=0)
    state, out = loop.init(page.params), []
    for batch in batches:
        state, _ = step(loop, state, batch)
        out.append(state)
    return out


def make(page, value):
    parts = {"apply": page.apply, "loss": page.loss}
    is_hook = isinstance(value, Hook)
    return Loop(**parts, tx=page.tx if is_hook else value, hooks=[value] if is_hook else [])


def test_the_loss_scale_follows_pytorchs(page):
    want, (code,) = RECORDED["hooks"][SCALER], HOOKS[SCALER]
    states = trained(page, make(page, eval(code, vars(page))), overflowing(page.data))
    scales = [float(state.hooks["loss_scaling"].scale) for state in states]
    assert scales == want["scales"]
    assert {a / b for a, b in zip(scales[1:], scales, strict=False)} == {0.5, 1.0, 2.0}
    same(states[-1].params, want["params"])


@pytest.mark.parametrize("number", range(2))
def test_averages_of_weights_are_pytorchs(number, page):
    value = eval(HOOKS[AVERAGE][number], vars(page))
    last = trained(page, make(page, value), page.data)[-1]
    if isinstance(value, Hook):
        average = page.averaged_params(last)
    else:
        average = gradtx.averaged_params(last.opt_state, last.params)
    same(average, RECORDED["hooks"][AVERAGE])
    same(last.params, RECORDED["plain"][-1])


def test_the_rate_is_reduced_after_the_same_epochs(page):
    (code,) = HOOKS[PLATEAU]
    loop = make(page, eval(code, vars(page)))
    train, valid = page.data[:6], page.data[6:]
    _, history = fit(loop, loop.init(page.params), train, valid, epochs=EPOCHS)
    rates, losses = np.transpose(RECORDED["hooks"][PLATEAU])
    np.testing.assert_allclose(history.steps["learning_rate"][::6], rates, rtol=1e-6)
    np.testing.assert_allclose([row["valid_loss"] for row in history.rows], losses, rtol=1e-3)
    assert len(set(rates)) == 2
