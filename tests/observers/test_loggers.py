"""Loggers by themselves: tables of values, and what becomes of one that fails."""

import csv as format
import json
import threading
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.checkpoint import resume
from gradtx.config import parse
from gradtx.hooks import terminate_on_nan
from gradtx.loop import Hook, Observer, fit
from gradtx.observers import Interrupted, csv
from gradtx.observers.logged import observed, package
from gradtx.run import RunOptions
from gradtx.run.training import observers_for
from tests.observers.small import BATCHES, make, nan_at


def table(path):
    with path.open(newline="") as file:
        return list(format.DictReader(file))


def run_of(folder):
    return {row["name"]: row["value"] for row in table(folder / "run.csv")}


def test_tables_have_every_step_and_epoch(tmp_path):
    loop, state = make(Hook("mine", {}, log=lambda s: {"counts": jnp.arange(2)}), nan_at(4))
    config = {"lr": 0.125, "sizes": [3, 4], "name": 'a "b", c'}
    observers = [csv(tmp_path, config=config, loop=loop)]
    _, history = fit(loop, state, BATCHES, BATCHES[:1], epochs=2, observers=observers)
    steps, epochs = table(tmp_path / "steps.csv"), table(tmp_path / "epochs.csv")
    assert [row["step"] for row in steps] == [str(n) for n in range(1, 7)]
    assert [row["epoch"] for row in steps] == ["0"] * 3 + ["1"] * 3
    losses = [float(row["loss"]) for row in steps]
    np.testing.assert_array_equal(losses, history.steps["loss"])
    assert steps[0]["learning_rate/all"] == "0.125" and steps[0]["counts"] == "[0, 1]"
    assert [row["step"] for row in epochs] == ["3", "6"]
    assert float(epochs[1]["mae"]) == history.rows[1]["mae"]
    said = run_of(tmp_path)
    assert said["lr"] == "0.125" and said["sizes"] == "[3, 4]" and said["name"] == 'a "b", c'
    assert (said["status"], said["step"]) == ("finished", "6")


def test_the_end_of_a_fit_that_failed_and_its_faults(tmp_path):
    loop, state = make(terminate_on_nan())
    spoilt = {name: x * jnp.nan for name, x in BATCHES[1].items()}
    fit(loop, state, [BATCHES[0], spoilt], epochs=1, observers=[csv(tmp_path, loop=loop)])
    said = run_of(tmp_path)
    assert said["status"] == "failed" and "not finite" in said["reason"]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "interrupted"), (OSError("disk"), "failed")]
)
def test_a_fit_that_raises_has_its_end_too(tmp_path, error, status):
    def stop(report):
        if report.step == 2:
            raise error

    loop, state = make()
    observers = [csv(tmp_path), Observer({"after_batch": stop})]
    with pytest.raises(type(error)):
        fit(loop, state, BATCHES, epochs=1, observers=observers)
    assert run_of(tmp_path)["status"] == status and run_of(tmp_path)["step"] == "2"
    assert [row["step"] for row in table(tmp_path / "steps.csv")] == ["1", "2"]


def test_a_fit_that_goes_on_has_every_row_once_and_a_new_one_begins_anew(tmp_path):
    """With half of a line at the end of a table, as a killed process leaves it."""
    loop, state = make()
    observers = [csv(tmp_path)]
    state, _ = fit(loop, state, BATCHES, epochs=1, observers=observers)
    with (tmp_path / "steps.csv").open("a") as file:
        file.write("4,0,0.1\n5,0")
    fit(loop, state, BATCHES, epochs=1, observers=observers)
    assert [row["step"] for row in table(tmp_path / "steps.csv")] == [*"123456"]
    assert [row["step"] for row in table(tmp_path / "epochs.csv")] == ["3", "6"]
    loop, state = make()
    fit(loop, state, BATCHES[:1], epochs=1, observers=observers)
    assert [row["step"] for row in table(tmp_path / "steps.csv")] == ["1"]


def test_a_column_that_comes_later_is_in_all_rows(tmp_path):
    loop, state = make()
    state, _ = fit(loop, state, BATCHES, epochs=1, observers=[csv(tmp_path)])
    more, state = loop.with_hooks(state, [Hook("m", {}, log=lambda s: {"new": jnp.int32(7)})])
    fit(more, state, BATCHES, epochs=1, observers=[csv(tmp_path)])
    assert [row["new"] for row in table(tmp_path / "steps.csv")] == [""] * 3 + ["7"] * 3


class Fake:
    """A logger that keeps what it gets, and fails when it is told."""

    def __init__(self):
        self.broken, self.opened, self.got, self.ends = False, [], [], []
        self.failed = threading.Event()

    def check(self):
        if self.broken:
            self.failed.set()
            raise ConnectionError("no route\nto host")

    def open(self, opening):
        self.check()
        self.opened.append(opening)
        return {"id": (opening.note or {}).get("id", "abc")}

    def log(self, records):
        self.check()
        self.got += records

    def close(self, end):
        self.check()
        self.ends.append(end)

    @property
    def steps(self):
        return [record.step for record in self.got if record.kind == "step"]


def logging_to(logger, folder, said):
    return observed(logger, "fake", folder, config={}, loop=None, say=said.append)


def test_what_fails_is_said_once_and_tried_again(tmp_path, monkeypatch):
    logger, said = Fake(), []
    loop, state = make()

    def breaks(report):
        logger.broken = report.epoch in (1, 2)
        if report.epoch == 2:
            assert logger.failed.wait(10)

    observers = [logging_to(logger, tmp_path, said), Observer({"before_epoch": breaks})]
    fit(loop, state, BATCHES, epochs=4, observers=observers)
    assert logger.steps == [*range(1, 13)]
    assert [r.step for r in logger.got if r.kind == "epoch"] == [3, 6, 9, 12]
    assert [opening.note and opening.note["id"] for opening in logger.opened] == [None, "abc"]
    assert said[0].startswith("Warning: fake can't log (ConnectionError: no route to host); the")
    assert said[1:] == ["fake works again; what was kept is logged."]
    assert [end.status for end in logger.ends] == ["finished"]


def test_what_never_works_ends_no_training(tmp_path):
    logger, said = Fake(), []
    logger.broken = True
    loop, state = make()
    fit(loop, state, BATCHES, epochs=2, observers=[logging_to(logger, tmp_path, said)])
    assert said[0].startswith("Warning: fake can't log (ConnectionError")
    assert said[1:] == ["Warning: fake lacks 8 records of steps and epochs."]


def test_one_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("gradtx.observers.courier.PATIENCE", 0.05)
    logger, said, answer = Fake(), [], threading.Event()
    logger.open = lambda opening: answer.wait(10) and {}
    loop, state = make()
    try:
        fit(loop, state, BATCHES, epochs=2, observers=[logging_to(logger, tmp_path, said)])
    finally:
        answer.set()
    assert said[0] == (
        "Warning: fake takes more than 0 seconds; the training does not wait for it."
    )
    assert said[-1] == "Warning: fake lacks 8 records of steps and epochs."


def test_what_is_logged_already_does_not_come_twice(tmp_path):
    """A run that was killed after step 5 goes on from its checkpoint after step 3."""
    logger, said, kept = Fake(), [], {}
    loop, state = make()

    def keep(report):
        kept["state"] = report.state.replace()

    first, _ = fit(loop, state, BATCHES, epochs=1)
    fit(loop, state, BATCHES, epochs=1, observers=[logging_to(logger, tmp_path, said)])
    note = tmp_path / "loggers" / "fake.json"
    assert json.loads(note.read_text())["step"] == 3
    fit(loop, first, BATCHES[:2], epochs=1, observers=[logging_to(logger, tmp_path, said)])
    assert logger.steps == [1, 2, 3, 4, 5] and said == []
    assert logger.opened[1].note["id"] == "abc" and logger.opened[1].step == 3


def test_the_first_process_logs_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    loop, state = make()
    fit(loop, state, BATCHES, epochs=1, observers=[csv(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_package_that_cannot_be_imported_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    said = r"observers\.wandb needs wandb; got .*pip install gradtx\[loggers\]"
    with pytest.raises(ImportError, match=said):
        package("wandb")


def test_a_name_that_is_no_loggers_is_told_the_nearest(capsys):
    with pytest.raises(SystemExit):
        parse(RunOptions, ["--log", "csv", "wanb"], prog="train.py")
    assert "'wanb'" in (said := capsys.readouterr().err) and "did you mean wandb?" in said
    assert parse(RunOptions, ["--log", "csv", "wandb"]).log == ("csv", "wandb")


def test_a_run_has_the_loggers_that_are_asked_for(tmp_path):
    loop, _ = make()
    options = parse(RunOptions, ["--log", "tensorboard", "csv"])
    made = observers_for(options, loop, 3, tmp_path, [], must_match={})
    assert [observer.name for observer in made][-2:] == ["csv", "checkpoint"]


def test_a_stopped_and_resumed_run_has_every_step_once(tmp_path):
    loop, state = make()
    options, valid = RunOptions(log=("csv",)), BATCHES[:1]
    some = partial(observers_for, options, loop, len(BATCHES), tmp_path, [], must_match={})
    with pytest.raises(Interrupted):
        fit(loop, state, BATCHES, valid, epochs=3, observers=some(stop=lambda step: step == 5))
    assert run_of(tmp_path)["status"] == "interrupted" and run_of(tmp_path)["epochs"] == "3"
    goes_on = resume(tmp_path / "checkpoints", say=lambda line: None)
    fit(loop, state, BATCHES, valid, epochs=3, observers=some(), resume=goes_on)
    assert [row["step"] for row in table(tmp_path / "steps.csv")] == [*"123456789"]
    assert [row["step"] for row in table(tmp_path / "epochs.csv")] == ["3", "6", "9"]
    assert run_of(tmp_path)["status"] == "finished"
