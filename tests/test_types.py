"""What a user's type checker knows of gradtx: both find slips, and nothing else on the pages."""

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.markdown import ROOT, blocks

SAMPLE = """
import jax.numpy as jnp
import optax
import gradtx
from gradtx.checkpoint import restore
from gradtx.loop import Loop, TrainState, accuracy, cross_entropy, fit
from gradtx.metrics import f1

tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(1e-3, weight_decay=0.1))
params = {"w": jnp.zeros(3)}
updates, state = tx.update(params, tx.init(params), params)
norm: float = float(updates["w"].sum() + state.count)
params = gradtx.apply_updates(params, updates)
mixed = gradtx.chain(optax.clip(1.0), tx, optax.scale(0.5))
theirs: optax.GradientTransformationExtraArgs = optax.chain(mixed, optax.scale(0.1))
count: int = int(mixed.init(params).count)
rate: float = float(gradtx.hyperparams(state)["learning_rate"])


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], model_state


loop = Loop(apply=apply, loss=cross_entropy, tx=tx, metrics={"accuracy": accuracy})
start: TrainState = loop.init(params, seed=1)
final, history = fit(loop, start, [{"x": jnp.ones((2, 3))}], epochs=1)
loss: object = history.rows[-1]["train_loss"]
step: int = int(final.step)
loop.init(params, sed=3)  # slip 1
gradtx.adamw(1e-3, weight_decy=0.1)  # slip 2
gradtx.apply_updates(params, updates).wat  # slip 3
"""


# What is no fault of gradtx's annotations, by the line of the page.
KNOWN = {
    "checkpoints.md": {"print(bool((resumed.params": "bound in an `except` alone"},
    "hooks.md": {'params["Dense_0"]["bias"] -=': "Flax: variables are a union"},
    "nnx.md": {
        "model.head.bias[...]": "nnx: a layer may have no bias",
        "back.opt_state.count": "Flax: `from_bytes` has the type of a dict, too",
        'params["table"][input_ids]': "the default of the user's own argument is None",
    },
    # Optax's trees are a union of all that a tree may be.
    "chaining.md": {'float(updates["bias"][0])': "of `optax.chain`"},
    "optax.md": {
        'old.hyperparams["learning_rate"]': "of `optax.inject_hyperparams`",
        "optax.sgd(0.1, momentum=schedule)": "the page shows that it raises",
        "clip.init(params)": "of `optax.clip_by_global_norm`",
        'float(a["w"][0])': "of `optax.adam`",
    },
}
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
ENTRY = ("README.md", "first.md", "tour.md", "hooks.md", "nnx.md")


def run_checker(checker, folder):
    """What it prints of the scripts in `folder`, and (script, number of the line) of its errors."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is in the extra `dev`")
    # pyright asks the first `python` on the path, if it is not told.
    own = ["--pythonpath", sys.executable] if checker == "pyright" else []
    command = [sys.executable, "-m", checker, *own, *map(str, sorted(folder.glob("*.py")))]
    said = subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout
    assert re.search(r"\b(errors?|no issues found)\b", said), said  # it came to its end
    found = re.findall(r"(\w+)\.py:(\d+)(?::\d+)? ?[:-] error(?!.*import-untyped)", said)
    return said, {(script, int(number)) for script, number in found}


@pytest.mark.thorough
@pytest.mark.parametrize("checker", ["pyright", "mypy"])
def test_a_type_checker_finds_the_slips_alone(checker, tmp_path):
    (tmp_path / "sample.py").write_text(SAMPLE)
    said, wrong = run_checker(checker, tmp_path)
    lines = SAMPLE.splitlines()
    assert [lines[n - 1][-6:] for _, n in sorted(wrong)] == [f"slip {i}" for i in (1, 2, 3)], said


@pytest.mark.thorough
@pytest.mark.parametrize(("checker", "pages"), [("pyright", PAGES), ("mypy", ENTRY)])
def test_a_type_checker_finds_no_fault_on_the_pages(checker, pages, tmp_path):
    shown = {}
    for page in pages:
        lines = []
        for line, source in blocks(PAGES[page]):
            lines += [""] * (line - 1 - len(lines)) + source.splitlines()
        shown[f"page_{page.removesuffix('.md')}"] = (page, lines)
        (tmp_path / f"page_{page.removesuffix('.md')}.py").write_text("\n".join(lines))
    said, wrong = run_checker(checker, tmp_path)
    found = [(page, lines[n - 1]) for s, n in wrong for page, lines in [shown[s]]]
    known = lambda page, line: [text for text in KNOWN.get(page, {}) if text in line]
    assert not [each for each in found if not known(*each)], said
    if checker == "pyright":
        listed = {(page, text) for page in KNOWN for text in KNOWN[page]}
        assert listed == {(page, text) for page, line in found for text in known(page, line)}
