"""Any script's run: what one of its own gets from gradtx.run, without train.py."""

import json
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.checkpoint import newest_intact
from gradtx.config import option
from gradtx.loop import Loop, fit
from gradtx.observers import read_jsonl
from gradtx.run import BatchSource, RunOptions, launch, with_guards

X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
DATA = {"x": X, "label": X @ np.float32([1, -1, 2])}


@dataclass(frozen=True)
class Options(RunOptions):
    """A script's own options."""

    PROG = "plane.py"

    lr: float = option(0.1, "the learning rate", least=0)
    poison: int | None = option(None, "the step with a batch that is not finite")


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], model_state


def loss(pred, batch):
    return (pred - batch["label"]) ** 2


def train(options, run, *, arrays=None):
    steps = len(X) // options.batch_size

    def batches(epoch, start):
        order = np.random.default_rng([options.seed, epoch]).permutation(len(X))
        for i, rows in enumerate(order.reshape(steps, -1)[start:], epoch * steps + start):
            batch = {name: values[rows] for name, values in DATA.items()}
            yield batch | {"x": batch["x"] * np.float32(np.nan if i == options.poison else 1)}

    source = BatchSource(batches, lambda: [DATA], steps, "plane", arrays)
    parts = {"tx": gradtx.sgd(options.lr), "hooks": with_guards([], options)}
    loop = Loop(apply=apply, loss=loss, **parts)
    state = loop.init({"w": jnp.zeros(3)}, seed=options.seed)
    if options.find_lr:
        run.find_lr(loop, state, source)
    elif options.sweep:
        run.sweep(loop, state, source)
    else:
        history = run.fit(fit, loop, state, source)
        print(f"Loss {history.rows[-1]['valid_loss']:.3f}.")


def run(capsys, *argv, train=train):
    status = launch(Options, train, [*map(str, argv), "--batch-size=8"])
    return status, *capsys.readouterr()


def weights(out):
    return newest_intact(out / "checkpoints")[1].leaves["params/w"]["digest"]


def test_a_run_leaves_its_directory_and_goes_on(tmp_path, capsys):
    out = tmp_path / "a"
    status, said, _ = run(capsys, "--epochs", 3, "--out", out)
    assert status == 0 and "Loss " in said and said.splitlines()[-1].startswith("Written to ")
    assert json.loads((out / "config.json").read_text())["lr"] == 0.1
    assert len(read_jsonl(out / "metrics.jsonl").rows) == 3
    assert (out / "report.html").exists() and list((out / "tensorboard").iterdir())
    before = weights(out)
    assert launch(Options, train, ["--resume", str(out)]) == 0
    assert "Going on from" in capsys.readouterr().out and weights(out) == before


def test_each_way_to_be_wrong_is_a_line_that_begins_with_the_script(tmp_path, capsys):
    for argv, want in [
        (["--lr", -1], "plane.py: `--lr` must be in [0, inf); got -1.0"),
        (["--epochs", 0], "plane.py: `--epochs` must be in [1, 2147483648); got 0"),
        (["--sweep", "lr=1:2:3", "--find-lr"], "plane.py: `--sweep` and `--find-lr`"),
        (["--sweep", "lr=1:2:3"], "got a source without `arrays`"),
        (["--mesh", "data=9"], "plane.py: --mesh must multiply to the number of devices"),
        (["--params-only"], "plane.py: `--params-only` needs the run"),
        (["--resume", "absent"], "plane.py: `--resume` must be the directory of a run; got absent"),
    ]:
        status, _, said = run(capsys, *argv, "--out", tmp_path / "a")
        assert status == 2 and said.startswith("error: ") and want in said
        assert said.count("\n") == 1 and not (tmp_path / "a").exists()


def test_a_loss_that_is_not_finite_is_status_1_or_skipped(tmp_path, capsys):
    status, _, said = run(capsys, "--poison", 2, "--out", tmp_path / "a")
    assert status == 1 and "the loss was not finite at step 2" in said.splitlines()[-1]
    argv = ["--poison", 2, "--nonfinite", "skip", "--log-gradient-norm"]
    assert run(capsys, *argv, "--out", tmp_path / "b")[0] == 0
    counts = json.loads((tmp_path / "b" / "faults.json").read_text())
    assert counts["batches skipped, not finite"] == 1
    assert "gradient_norm" in read_jsonl(tmp_path / "b" / "metrics.jsonl").steps


@pytest.mark.thorough
def test_searches(tmp_path, capsys):
    with_arrays = partial(train, arrays=lambda split: DATA)
    argv = ["--sweep", "learning_rate=0.001:0.1:3", "--out", tmp_path / "a"]
    status, said, _ = run(capsys, *argv, train=with_arrays)
    assert status == 0 and "<- best" in said.splitlines()[3]
    found = json.loads((tmp_path / "a" / "sweep.json").read_text())
    assert found["best"] == 2 and found["learning_rate"] == pytest.approx([0.001, 0.01, 0.1])
    status, said, _ = run(capsys, "--find-lr", "--out", tmp_path / "b")
    assert status == 0 and said.split()[0] == "minimum"
    assert (tmp_path / "b" / "lr_find.png").exists()


@pytest.mark.thorough
def test_parameters_alone_begin_another_run(tmp_path, capsys):
    assert run(capsys, "--out", tmp_path / "a")[0] == 0
    argv = ["--resume", tmp_path / "a", "--params-only", "--lr", 0, "--out", tmp_path / "b"]
    status, said, _ = run(capsys, *argv)
    assert status == 0 and "Parameters from" in said
    assert weights(tmp_path / "b") == weights(tmp_path / "a")


def test_what_the_script_refuses_is_status_2_until_the_run_has_begun(tmp_path, capsys):
    def refuses(options, run):
        raise ValueError("plane.py: no plane.")

    def fails(options, run):
        train(options, run)
        raise ValueError("a defect of the script")

    argv = ["--epochs", 1, "--out", tmp_path / "a"]
    assert run(capsys, *argv, train=refuses) == (2, "", "error: plane.py: no plane.\n")
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="a defect"):
        run(capsys, *argv, train=fails)
