"""What a user's type checker knows of gradtx: both find two slips, and nothing else."""

import importlib.util
import re
import subprocess
import sys

import pytest

SAMPLE = """
import jax.numpy as jnp
import gradtx
from gradtx.checkpoint import restore
from gradtx.loop import Loop, TrainState, accuracy, cross_entropy, fit
from gradtx.metrics import f1

tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(1e-3, weight_decay=0.1))
params = {"w": jnp.zeros(3)}
updates, state = tx.update(params, tx.init(params), params)
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
"""


@pytest.mark.thorough
@pytest.mark.parametrize("checker", ["pyright", "mypy"])
def test_a_type_checker_finds_the_slips_alone(checker, tmp_path):
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is in the extra `dev`")
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE)
    done = subprocess.run(
        [sys.executable, "-m", checker, str(path)], capture_output=True, text=True, cwd=tmp_path
    )
    lines = SAMPLE.splitlines()
    wrong = {int(n) for n in re.findall(r"sample\.py:(\d+)(?::\d+)? ?[:-] error", done.stdout)}
    assert [lines[n - 1][-6:] for n in sorted(wrong)] == ["slip 1", "slip 2"], done.stdout
