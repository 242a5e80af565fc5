"""train.py --resume: what it goes on with, and what it refuses, in a line that says why."""

import json
import shutil

import numpy as np
import pytest

import train as script
from gradtx.checkpoint import entries, newest_intact

TINY = "--model mlp --epochs 2 --limit-batches 3 --size 4".split()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run."""
    out = tmp_path_factory.mktemp("runs") / "first"
    assert script.main([*TINY, "--save-every", "2", "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(finished, tmp_path / "run")


def main(capsys, *argv):
    """The exit status, the output and the errors of a call."""
    capsys.readouterr()
    try:
        status = script.main([*map(str, argv)])
    except SystemExit as stop:  # argparse's way
        status = stop.code
    return status, *capsys.readouterr()


def refused(capsys, *argv):
    status, _, errors = main(capsys, *argv)
    assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    return errors


def change_config(run, **changes):
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_finished_run_shows_its_table_again(run, capsys):
    before = (run / "metrics.jsonl").read_bytes(), (run / "config.json").read_bytes()
    status, shown, _ = main(capsys, "--resume", run)
    assert status == 0 and f"Going on from {run}/checkpoints/" in shown
    assert [line.split()[0] for line in shown.splitlines() if line[:5] in ("    0", "    1")] == [
        "0", "1"
    ]  # fmt: skip
    assert ((run / "metrics.jsonl").read_bytes(), (run / "config.json").read_bytes()) == before


@pytest.mark.thorough
def test_a_run_without_a_checkpoint_begins_anew(run, capsys):
    want = (run / "metrics.jsonl").read_bytes()
    shutil.rmtree(run / "checkpoints")
    status, shown, _ = main(capsys, "--resume", run)
    assert status == 0 and "No checkpoint yet" in shown
    assert (run / "metrics.jsonl").read_bytes() == want


def test_a_damaged_checkpoint_is_said_and_an_older_one_used(run, capsys):
    want = (run / "metrics.jsonl").read_bytes()
    newest = entries(run / "checkpoints")[-1].path(run / "checkpoints")
    data = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    flipped = bytearray(data.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    data.write_bytes(flipped)
    status, shown, _ = main(capsys, "--resume", run)
    assert status == 0
    assert f"Warning: {newest} is damaged" in shown and "an older one is used" in shown
    assert (run / "metrics.jsonl").read_bytes() == want


def test_with_no_intact_checkpoint_it_ends_with_an_error(run, capsys):
    for entry in entries(run / "checkpoints"):
        (entry.path(run / "checkpoints") / "meta.json").write_text("")
    assert "must have an intact checkpoint" in refused(capsys, "--resume", run)


def test_a_file_for_a_folder_and_a_folder_for_a_file_are_refused_before_training(run, capsys):
    """Nothing of the run changes: its metrics are as long as they were."""
    want = (run / "metrics.jsonl").read_bytes()
    (run / "checkpoints").rename(run / "aside")
    (run / "checkpoints").write_text("")
    assert "must be a directory of checkpoints; got something" in refused(capsys, "--resume", run)
    (run / "checkpoints").unlink()
    (run / "aside").rename(run / "checkpoints")
    for name in ("faults.json", "report.html", "metrics.jsonl"):
        (run / name).rename(run / "aside")
        (run / name).mkdir()
        assert name in refused(capsys, "--resume", run)
        (run / name).rmdir()
        (run / "aside").rename(run / name)
    assert (run / "metrics.jsonl").read_bytes() == want


def test_no_option_may_contradict_the_run(run, capsys):
    said = refused(capsys, "--resume", run, "--epochs", 5, "--lr=1")
    assert "got --epochs, --lr too" in said and "--params-only" in said


def test_what_is_no_run_is_refused(tmp_path, capsys):
    said = refused(capsys, "--resume", tmp_path / "absent")
    assert "must be the directory of a run" in said and "absent" in said
    (tmp_path / "config.json").write_text("[1")
    assert "whose config.json cannot be read" in refused(capsys, "--resume", tmp_path)


@pytest.mark.parametrize("change", [{"epochs": "two"}, {"epchs": 2}])
def test_an_option_that_a_run_cannot_have_is_said_of_its_file(run, capsys, change):
    change_config(run, **change)
    said = refused(capsys, "--resume", run)
    assert f"error: {run / 'config.json'}: " in said


def test_a_configuration_that_was_altered_is_refused_unless_its_digest_is_removed(run, capsys):
    """Also where the checkpoint knows nothing of what differs."""
    change_config(run, jax="0.1")
    assert "must be as the run wrote them; got others" in refused(capsys, "--resume", run)
    assert "must be as the run wrote them" in refused(capsys, "predict", run, "x.png")
    config = json.loads((run / "config.json").read_text())
    del config["digest"]
    (run / "config.json").write_text(json.dumps(config))
    assert main(capsys, "--resume", run)[0] == 0


def test_an_edited_configuration_is_named(run, capsys):
    change_config(run, epochs=3, seed=5)
    said = refused(capsys, "--resume", run)
    assert "config.epochs was 2 and is 3; config.seed was 0 and is 5" in said


def test_another_model_or_optimizer_is_named(run, capsys):
    change_config(run, optimizer="sgd")
    assert "config.optimizer was adamw and is sgd" in refused(capsys, "--resume", run)


def test_other_data_are_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 255, (64, 4, 4), np.uint8), "y_train": np.arange(64) % 2,
        "x_test": rng.integers(0, 255, (8, 4, 4), np.uint8), "y_test": np.arange(8) % 2,
    }  # fmt: skip
    np.savez(tmp_path / "data.npz", **arrays)
    argv = ["--dataset", "arrays", "--data-dir", tmp_path / "data.npz", "--batch-size", 16]
    assert main(capsys, *TINY, *argv, "--out", tmp_path / "run")[0] == 0
    np.savez(tmp_path / "data.npz", **arrays | {"x_train": 255 - arrays["x_train"]})
    said = refused(capsys, "--resume", tmp_path / "run")
    assert "got: data was " in said and "--params-only" in said


def test_a_run_is_not_written_over(run, capsys):
    said = refused(capsys, *TINY, "--out", run)
    assert "must not have the checkpoints of a run" in said and f"--resume {run}" in said


@pytest.mark.thorough
def test_params_only_begins_a_new_run_with_another_optimizer(run, tmp_path, capsys):
    """With a rate of zero its first and last parameters are those of the run before."""
    argv = ["--optimizer", "sgd", "--lr", 0, "--schedule", "constant", "--seed", 7]
    out = tmp_path / "second"
    argv = [*TINY, *argv, "--resume", run, "--params-only", "--out", out]
    status, shown, _ = main(capsys, *argv)
    assert status == 0 and f"Parameters from {run}" in shown
    params = lambda run: {
        name: leaf["digest"]
        for name, leaf in newest_intact(run / "checkpoints")[1].leaves.items()
        if name.startswith("params/")
    }
    assert params(out) == params(run) != {}
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 0 and first["epoch"] == 0
    assert main(capsys, "--resume", out)[0] == 0


def test_params_only_of_another_model_is_named(run, tmp_path, capsys):
    argv = "--model resnet_tiny --size 4".split()
    said = refused(capsys, *argv, "--resume", run, "--params-only", "--out", tmp_path / "second")
    assert "is only in the checkpoint" in said and "Build the model" in said


def test_params_only_needs_a_run(capsys, tmp_path):
    said = refused(capsys, "--params-only", "--out", tmp_path / "run")
    assert "Add `--resume RUN`" in said


def test_damaged_metrics_are_one_line(run, capsys):
    (run / "metrics.jsonl").write_text("no metrics\n")
    assert "must have the lines that `jsonl` writes" in refused(capsys, "--resume", run)


def test_damaged_notes_of_skipped_images_are_one_line(run, capsys):
    (run / "skipped.jsonl").write_text("{}\n")
    assert "skipped.jsonl must have the lines that a run wrote" in refused(capsys, "--resume", run)
