"""`train.py --search`: stopped, killed and resumed it ends as if it had not been."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import train as script
from gradtx.checkpoint import entries, newest_intact
from gradtx.sealed import read_json

pytestmark = pytest.mark.thorough
ROOT = Path(__file__).parents[2]
SPACE = "--over lr=1e-4:1e-1 weight_decay=0,0.01,0.1".split()
SMALL = "--members 4 --rounds 5 --epochs 1 --limit-batches 20".split()
# train.py with a signal to itself: in a round, or when a checkpoint is nearly written.
SIGNALLED = """
import os, signal, sys
import gradtx.checkpoint.saving as saving
import gradtx.run.population as population
import train

kind, at, *argv = sys.argv[1:]
round, write = population._Told.round, saving.write_meta

def told(self, searching):
    if (kind, int(searching.round)) in (("stop", int(at)), ("kill", int(at))):
        os.kill(os.getpid(), signal.SIGTERM if kind == "stop" else signal.SIGKILL)
    round(self, searching)

def write_meta(directory, meta):
    if (kind, meta.step) == ("write", int(at)):
        os.kill(os.getpid(), signal.SIGKILL)
    write(directory, meta)

population._Told.round, saving.write_meta = told, write_meta
sys.exit(train.main(argv))
"""


def run(kind, at, *argv):
    """(status, standard output, standard error) of train.py in a process of its own."""
    command = [sys.executable, "-c", SIGNALLED, kind, str(at), *map(str, argv)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def outcome(out):
    """All that must not depend on interruptions."""
    leaves = [newest_intact(where / "checkpoints")[1].leaves for where in (out, out / "best")]
    config = json.loads((out / "best" / "config.json").read_text())
    named = {name: config[name] for name in ("lr", "weight_decay", "schedule", "search", "model")}
    return read_json(out / "lineage.json"), leaves, named


@pytest.fixture(scope="module", params=["pbt", "halving"])
def whole(request, tmp_path_factory):
    """A search that nothing interrupts, in this process."""
    out = tmp_path_factory.mktemp("searches") / request.param
    argv = ["--search", request.param, *SPACE, *SMALL]
    status, shown, errors = run("none", 0, *argv, "--out", out)
    assert status == 0, errors
    return argv, out, shown


def test_it_prints_its_rounds_and_what_has_come_of_it(whole):
    _, out, shown = whole
    lines = shown.splitlines()
    assert [line.split()[:2] for line in lines if line.split()[0].isdigit()][:5] == [
        [str(i), str(4 * (i + 1))] for i in range(5)
    ]
    lineage = read_json(out / "lineage.json")
    last = lineage["rounds"][-1]
    best = int(np.argmin(last["scores"]))
    assert sum(line.endswith("<- best") for line in lines) == 1
    assert any(line.startswith(f"Best: member {best}, now with lr=") for line in lines)
    assert list(last["hyperparams"]) == ["learning_rate", "weight_decay.others"]
    assert len(lineage["rounds"]) == 5 and last["step"] == 20
    (at,) = (line for line in lines if line.startswith("The same run again: python train.py"))
    assert " ".join(SPACE) in at
    config = json.loads((out / "best" / "config.json").read_text())
    assert np.float32(config["lr"]) == np.float32(last["hyperparams"]["learning_rate"][best])


def test_stopped_and_killed_it_ends_as_if_it_had_not_been(whole, tmp_path, capsys):
    """By SIGTERM in the second round, by SIGKILL in the third, and while the fourth is saved."""
    argv, out, _ = whole
    parts = tmp_path / "parts"
    status, shown, errors = run("stop", 2, *argv, "--out", parts)
    assert status == 0 and not errors, errors
    stopped = [line for line in shown.splitlines() if line.startswith("Stopped after 8 steps")]
    assert stopped and stopped[0].endswith(f"python train.py --resume {parts}")
    assert not (parts / "best").exists()
    assert run("kill", 3, "--resume", parts)[0] == -signal.SIGKILL
    assert run("write", 16, "--resume", parts)[0] == -signal.SIGKILL
    assert list((parts / "checkpoints").glob(".*.tmp"))
    status, shown, errors = run("none", 0, "--resume", parts)
    assert status == 0, errors
    assert "after 12 steps" in shown
    assert outcome(parts) == outcome(out)
    assert len(entries(parts / "checkpoints")) == 2
    assert not list((parts / "checkpoints").glob(".*.tmp"))


def test_the_best_member_is_a_run_that_goes_on_and_predicts(whole, tmp_path, capsys):
    _, out, _ = whole
    image = tmp_path / "x.png"
    from PIL import Image

    Image.fromarray(np.zeros((28, 28), np.uint8)).save(image)
    assert script.main(["predict", str(out / "best"), str(image), "--top", "1"]) == 0
    assert "%" in capsys.readouterr().out
    again = tmp_path / "again"
    argv = ["--resume", str(out / "best"), "--params-only", "--out", str(again)]
    assert script.main([*argv, "--epochs", "1", "--limit-batches", "2"]) == 0
    assert "Parameters from" in capsys.readouterr().out
    for argv, who in (
        (["predict", str(out), str(image)], "predict needs a training on images"),
        (["--resume", str(out), "--params-only"], "`--params-only` takes the parameters of"),
    ):
        assert script.main(argv) == 2
        said = capsys.readouterr().err
        assert who in said and f"name {out / 'best'}." in said


def test_all_failing_is_said_and_kept(tmp_path):
    out = tmp_path / "run"
    argv = ["--search", "pbt", "--over", "lr=1e30,1e35", *SMALL, "--out", out]
    status, _, errors = run("none", 0, *argv)
    assert status == 1
    assert errors.splitlines()[-1].startswith("error: no member's loss stayed finite; lower --over")
    assert read_json(out / "lineage.json")["rounds"][-1]["scores"] == [None] * 4
    assert not (out / "best").exists()


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--over", "warmth=1,2"], "`space`: `warmth` must name one hyperparameter of the state"),
        (["--over", "momentum=0.5,1.0"], r"`space`: `b1` must be in [0, 1); got 1."),
        (["--over", "lr=1e-3", "--rounds", "999"], "`--rounds` must be at most the steps of all"),
        (["--over", "lr=1e-3", "--lr", "0.1"], "`--search` has no use for some options; got --lr"),
        (["--over", "lr=1e-3", "--mesh", "data=8"], "are for one process without `--mesh`"),
    ],
)
def test_what_can_not_be_is_one_line_before_anything_is_written(argv, said, tmp_path, capsys):
    out = tmp_path / "run"
    small = ["--limit-batches", "4", "--epochs", "1", "--out", str(out)]
    assert script.main(["--search", "pbt", *argv, *small]) == 2
    assert said in capsys.readouterr().err and not out.exists()
