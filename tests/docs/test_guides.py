"""The pages of docs/: their blocks run, their tables of equivalents are true."""

import inspect
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import presets, schedules
from gradtx.loop import EVENTS, Request
from tests.docs.fastai_cells import UPDATES
from tests.loop.rule import Rule
from tests.markdown import ROOT, blocks, check_output, equivalences, executed
from tests.transforms.trajectories import assert_same, gradtx_run

DOCS = ROOT / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md") if blocks(page))
GOLDEN = ROOT / "tests" / "golden"
RECORD = json.loads((GOLDEN / "torch_optimizers.json").read_text())
START = {key: np.asarray(x) for key, x in RECORD["start"].items()}
GRADS = [{key: np.asarray(x) for key, x in g.items()} for g in RECORD["grads"]]
FASTAI = json.loads((GOLDEN / "fastai_tables.json").read_text())["cells"]
TORCH = json.loads((GOLDEN / "torch_tables.json").read_text())
OURS = {"gradtx": gradtx, "presets": presets, "schedules": schedules}


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_and_print_what_it_says(page):
    if page == "equinox.md":
        pytest.importorskip(
            "equinox", reason="it is in the extra `test`: pip install 'gradtx[test]'"
        )
    check_output(DOCS / page, executed(DOCS / page)[1])


def rows(page, mark):
    found = equivalences(DOCS / page, mark)
    assert found, f"{page} has no table {mark!r}"
    return [pytest.param(row, id=row.left) for row in found]


def trajectory(tx):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return gradtx_run(tx, START, GRADS, jit=True)[0]


def values(schedule):
    with jax.numpy_dtype_promotion("standard"):
        return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(UPDATES)))


def arrays(trees):
    return [{key: np.asarray(x) for key, x in tree.items()} for tree in trees]


@pytest.mark.parametrize("row", rows("optax.md", "optax"))
def test_optax_has_the_same_numbers(row):
    with jax.enable_x64(True):
        want = trajectory(eval(row.left, {"optax": optax}))
        for code in row.right:
            assert_same(trajectory(eval(code, dict(OURS))), want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("row", rows("optax.md", "schedules"))
def test_optaxs_schedules_have_the_same_values(row):
    want = values(eval(row.left, {"optax": optax}))
    for code in row.right:
        np.testing.assert_allclose(values(eval(code, dict(OURS))), want, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("row", rows("fastai.md", "fastai"))
def test_fastai_has_the_same_numbers(row):
    want = arrays(FASTAI[row.left])
    rtol = 1e-5 if "RAdam" in row.left else 1e-10  # some of fastai's RAdam is in float32
    for code in row.right:
        assert_same(trajectory(eval(code, dict(OURS))), want, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("row", rows("fastai.md", "fastai schedules"))
def test_fastais_schedules_have_the_same_values(row):
    want = FASTAI[row.left]
    for code in row.right:
        np.testing.assert_allclose(values(eval(code, dict(OURS))), want, rtol=1e-5, atol=1e-7)


def recorded(kind, row):
    assert row.left in TORCH[kind], (
        f"docs/pytorch.md, line {row.line}, is not in the record: run"
        " `python -m tests.golden.record_torch_tables`"
    )
    return TORCH[kind][row.left]


@pytest.mark.parametrize("row", rows("pytorch.md", "torch"))
def test_pytorch_has_the_same_numbers(row):
    want = arrays(recorded("optimizers", row))
    rtol = 1e-7 if "RAdam" in row.left else 1e-12
    for code in row.right:
        assert_same(trajectory(eval(code, dict(OURS))), want, rtol=rtol)


@pytest.mark.parametrize("row", rows("pytorch.md", "torch schedules"))
def test_pytorchs_schedulers_have_the_same_values(row):
    want = recorded("schedules", row)
    for code in row.right:
        np.testing.assert_allclose(values(eval(code, dict(OURS))), want, rtol=1e-5, atol=1e-9)


def unwinding():
    """Where each request leads, by the rule that tests/loop holds against the loop itself."""
    fit = lambda asks: Rule(asks).fit(epochs=2, train=2, valid=2).events
    requests = [request for request in Request if request]
    lines = [
        "| Asked for at | " + " | ".join(f"`{request.name}`" for request in requests) + " |",
        "|---|" + "---|" * len(requests),
    ]
    plain = fit({})
    for event in [event for event in EVENTS if event in plain]:
        cells = []
        for request in requests:
            pairs = zip(plain, fit({(event, 0): request}), strict=False)
            other = next((b for a, b in pairs if a != b), None)
            cells.append(f"`{other.removeprefix('after_')}`" if other else "·")
        lines.append(f"| `{event}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_of_requests_is_the_rule():
    page = (DOCS / "hooks.md").read_text()
    assert unwinding() in page, f"hooks.md must hold the table\n{unwinding()}"


def test_the_page_on_hooks_names_every_event_and_every_ready_hook():
    page = (DOCS / "hooks.md").read_text()
    short = re.sub(r"`_(\w+)`", r"`after_cancel_\1`", page)
    for event in EVENTS:
        assert f"`{event}`" in short, event
    import gradtx.hooks

    for name in gradtx.hooks.__all__:
        made = getattr(gradtx.hooks, name)
        if inspect.signature(made).return_annotation is gradtx.loop.Hook:
            assert f"| `{name}(" in page, name
