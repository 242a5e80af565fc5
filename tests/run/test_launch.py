"""Any script's run: what one of its own gets from gradtx.run, without train.py."""

import json
import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.checkpoint import newest_intact
from gradtx.config import check_ignored, option, parse
from gradtx.loop import Loop, Observer, fit
from gradtx.observers import read_jsonl
from gradtx.run import BatchSource, RunOptions, TrainOptions, launch, with_guards
from gradtx.run.artifacts import unless_missing
from gradtx.run.searches import training_with

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


def train(options, run, *, arrays=None, recipe=fit):
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
        history = run.fit(recipe, loop, state, source)
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
    assert said.splitlines()[-2] == "The same run again: python plane.py --batch-size 8"
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
def test_help_says_what_the_tables_train_loss_is(capsys):
    with pytest.raises(SystemExit):
        run(capsys, "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "train_loss is a running average" in said and "mean is train_loss_mean" in said


def test_searches(tmp_path, capsys):
    with_arrays = partial(train, arrays=lambda split: DATA)
    argv = ["--sweep", "learning_rate=0.001:0.1:3", "--out", tmp_path / "a"]
    status, said, _ = run(capsys, *argv, train=with_arrays)
    assert status == 0 and "<- best" in said.splitlines()[3]
    found = json.loads((tmp_path / "a" / "sweep.json").read_text())
    assert found["best"] == 2 and found["learning_rate"] == pytest.approx([0.001, 0.01, 0.1])
    status, said, _ = run(capsys, "--find-lr", "--out", tmp_path / "b", "--seed", 3)
    assert status == 0 and said.split()[0] == "minimum" and "by valley" in said
    assert (tmp_path / "b" / "lr_find.png").exists()
    # The command it prints trains with the user's other options, and no longer searches.
    words = next(line for line in said.splitlines() if line.startswith("To train")).split("python ")
    script, *argv = shlex.split(words[1])
    found = parse(Options, argv)
    assert script == "plane.py" and (found.seed, found.batch_size) == (3, 8)
    assert not found.find_lr and found.out is None
    assert f"Learning rate {found.lr:.3g}, by valley" in said


def test_the_command_after_a_search_has_no_option_that_the_training_refuses():
    argv = ["--find-lr", "--momentum", "0.8", "--optimizer", "momentum", "--data-dir", "/a b"]
    argv += ["--dataset", "folder", "--no-flip", "--out", "x"]
    options = parse(TrainOptions, argv)
    command = training_with(options, 0.0123456)
    assert command == (
        "python train.py --dataset folder --data-dir '/a b' --no-flip --optimizer momentum"
        " --lr 0.0123"
    )
    words = shlex.split(command)[2:]
    check_ignored(words, parse(TrainOptions, words).ignored, "train.py")
    more = replace(options, schedule="constant", resume=Path("r"), params_only=True)
    assert "--resume r --params-only" in training_with(more, 0.1)
    assert "--momentum 0.8 --schedule" not in command
    assert training_with(RunOptions(find_lr=True), 0.1) is None


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


def test_what_is_not_on_the_disk_at_the_end_is_said_and_status_3(tmp_path, capsys, monkeypatch):
    """Whatever keeps it from there; all that can be written is."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "checkpoints").write_text("no directory")
    status, said, error = run(capsys, "--epochs", 1, "--out", tmp_path / "a")
    assert status == 3 and error.splitlines()[-1].startswith(f"error: {tmp_path / 'a'} must have")
    assert "lacks the state after 4 steps (there is no checkpoint). Put right" in error
    assert error.endswith("and begin anew.\n")  # there is nothing to go on from
    assert "report.html" in said.splitlines()[-1] and "checkpoints" not in said.splitlines()[-1]

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gradtx.files.Appending.write", full)
        status, said, error = run(capsys, "--epochs", 1, "--out", tmp_path / "b")
        assert status == 2 and not (tmp_path / "b" / "metrics.jsonl").exists()  # at the start
    with monkeypatch.context() as patch:
        patch.setattr("gradtx.report.page.write_report", full)
        patch.setattr("gradtx.run.artifacts.write_report", full)
        status, said, error = run(capsys, "--epochs", 1, "--out", tmp_path / "c")
    assert status == 3 and "lacks report.html" in error
    assert error.endswith(f"--resume {tmp_path / 'c'}\n")
    assert "checkpoints (newest and best)" in said.splitlines()[-1]
    assert weights(tmp_path / "c")


def test_metrics_that_cannot_be_written_do_not_end_a_training(tmp_path, capsys):
    """Here from the first epoch on; the checkpoint comes all the same, and the status is 3."""

    def full(options, run):
        def unwritable(loop, state, train, valid, *, observers, **arguments):
            lose = Observer({"before_epoch": lambda report: swap(run.out / "metrics.jsonl")})
            return fit(loop, state, train, valid, observers=[*observers, lose], **arguments)

        train(options, run, recipe=unwritable)

    def swap(path):
        if not path.is_dir():
            path.unlink(missing_ok=True)
            path.mkdir()

    status, _, error = run(capsys, "--epochs", 2, "--out", tmp_path / "a", train=full)
    assert status == 3 and "lacks metrics.jsonl (Is a directory)" in error.splitlines()[-1]
    assert weights(tmp_path / "a")


@pytest.mark.parametrize(
    "error, status, said",
    [
        (MemoryError(), 1, "memory: what is trained must fit into it; got no more. Lower --batch"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), 1, "memory: "),
        (OSError(36, "File name too long", "x" * 5000), 2, "xxx... must be a file or a directory"),
        (KeyboardInterrupt(), 130, "interrupted; what was written before is kept."),
        (RuntimeError("a\nb"), 2, "error: a b\n"),
    ],
)
def test_each_end_is_a_line_and_a_status(capsys, error, status, said):
    def ends(options, run):
        raise error

    got, _, line = run(capsys, train=ends)
    assert got == status and said in line and line.count("\n") == 1 and len(line) < 400


def test_numbers_that_are_too_large_are_refused(tmp_path, capsys):
    for argv, said in [
        (["--limit-batches", 2**63 - 1], "`--limit-batches` must be in [1, 2147483648)"),
        (["--save-every", 2**31], "`--save-every` must be in [1, 2147483648)"),
        (["--epochs", 2**30], "`--epochs` times the steps of an epoch must be below 2,147,483,648"),
        (["--out", "x" * 5000], "File name too long"),
        (["--out", "y/" * 2000], "File name too long"),
        (["--resume", "x" * 5000], "must be the directory of a run; got xxx"),
    ]:
        status, _, line = run(capsys, "--out", tmp_path / "a", *argv)
        assert status == 2 and said in line and len(line) < 500, line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("of_a_run", [True, False])
def test_options_come_from_a_file_and_the_command_line_goes_before_it(tmp_path, capsys, of_a_run):
    if of_a_run:
        run(capsys, "--epochs", 1, "--lr", 0.2, "--seed", 3, "--out", tmp_path / "a")
        file = tmp_path / "a" / "config.json"
    else:
        file = tmp_path / "my.toml"
        file.write_text("lr = 0.2\nseed = 3\nsave-every = 2\n")
    out = tmp_path / "b"
    status, said, _ = run(capsys, "--config", file, "--seed", 4, "--epochs", 1, "--out", out)
    made = json.loads((out / "config.json").read_text())
    assert (status, made["lr"], made["seed"], made["out"]) == (0, 0.2, 4, str(out))
    again = "python plane.py --epochs 1 --batch-size 8 --seed 4"
    again += ("" if of_a_run else " --save-every 2") + " --lr 0.2"
    assert said.splitlines()[-2] == f"The same run again: {again}"


@pytest.mark.parametrize(
    "text, named",
    [
        ("lr = 0.2\nrate = 1", "--rate=1"),
        ("lr = 'high'", "argument --lr: invalid float value: 'high'"),
        ("find-lr = true\nepochs = 2", "`--find-lr` has no use for some options; got --epochs"),
        ("lr = ", "`--config` must be a file of options"),
        (None, "`--config` must be a file of options"),
    ],
)
def test_a_bad_file_of_options_ends_with_status_2(tmp_path, capsys, text, named):
    file = tmp_path / "my.toml"
    if text is not None:
        file.write_text(text)
    status, _, err = run(capsys, "--config", file, "--out", tmp_path / "a")
    assert status == 2 and err.startswith("error: ") and named in err
    assert not (tmp_path / "a").exists()


def test_a_changed_config_of_a_run_says_what_to_remove(tmp_path, capsys):
    run(capsys, "--epochs", 1, "--out", tmp_path / "a")
    file = tmp_path / "a" / "config.json"
    file.write_text(file.read_text().replace('"lr": 0.1', '"lr": 0.2'))
    status, _, err = run(capsys, "--config", file, "--out", tmp_path / "b")
    assert status == 2 and "remove its entry `digest`" in err
    status, _, err = run(capsys, "--config", file, "--resume", tmp_path / "a")
    assert status == 2 and "`--resume` takes all options from the run; got `--config` too" in err


def test_what_cannot_be_drawn_without_an_extra_is_said_and_left_out(capsys):
    def draw():
        raise ImportError("gradtx.drawing needs matplotlib.")

    assert unless_missing("a.png", draw) == [] and unless_missing("b.png", lambda: 1) == ["b.png"]
    assert capsys.readouterr().out == "No a.png: gradtx.drawing needs matplotlib.\n"


@pytest.mark.parametrize("more", [[], ["--find-lr"]])
def test_a_summary_is_printed_in_the_place_of_a_run(tmp_path, capsys, more):
    out = tmp_path / "a"
    argv = ["--summary", "--out", str(out), *more]
    assert launch(Options, train, argv) == 0
    shown = capsys.readouterr()
    for part in ("parameters  ", "(top)", "w 3", "floating-point operations", "memory of a step"):
        assert part in shown.out
    assert not out.exists() and not shown.err and "Written" not in shown.out
