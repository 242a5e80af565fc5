"""The observer: when it saves, what it keeps, how it ends a fit, and what a full disk does."""

import errno
import gc
import io
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import gradtx.checkpoint.saving as saving
from gradtx.checkpoint import CheckpointError, Entry, entries, newest_intact, restore, resume
from gradtx.checkpoint.retention import retained
from gradtx.loop import Observer, fit
from gradtx.observers import Interrupted, checkpoint, jsonl, table
from gradtx.recipes import fit_one_cycle
from tests.checkpoint.small import BATCHES, made
from tests.checkpoint.test_restore import assert_same

ROOT = Path(__file__).parents[2]


def test_it_saves_every_epoch_and_every_few_steps_and_keeps_two(tmp_path):
    seen = []
    names = lambda report: seen.append([entry.step for entry in entries(tmp_path)])
    loop, state = made()
    observers = [checkpoint(tmp_path, every=3), Observer({"after_fit": names})]
    fit(loop, state, BATCHES, BATCHES, epochs=3, observers=observers)
    assert [entry.number for entry in entries(tmp_path)][-1] == 4 + 3  # steps 3 6 9 12, 3 epochs
    assert len(entries(tmp_path)) == 2 and entries(tmp_path)[-1].step == 12
    assert seen == [[e.step for e in entries(tmp_path)]]  # all is written when the fit ends


def test_the_best_epoch_stays(tmp_path):
    loop, state = made()
    observers = [checkpoint(tmp_path, every=1, best=("train_loss", "max"))]
    _, history = fit(loop, state, BATCHES, BATCHES, epochs=3, observers=observers)
    losses = [row["train_loss"] for row in history.rows]
    assert losses[0] > max(losses[1:])
    assert [entry.step for entry in entries(tmp_path)] == [4, 12]


@pytest.mark.parametrize(
    "scores, want",
    [
        ({}, []),
        ({1: None}, [1]),
        ({1: None, 2: None, 3: None}, [2, 3]),
        ({1: 5.0, 2: None, 3: 4.0, 4: None}, [1, 4]),
        ({1: 5.0, 2: 5.0, 3: None}, [2, 3]),
        ({1: 5.0, 2: None, 3: 6.0}, [2, 3]),
    ],
)
def test_what_is_kept(scores, want):
    got = retained({Entry(number, 0): score for number, score in scores.items()})
    assert sorted(entry.number for entry in got) == want


def test_a_fit_without_validation_has_no_best(tmp_path):
    loop, state = made()
    fit(loop, state, BATCHES, epochs=3, observers=[checkpoint(tmp_path)])
    assert [entry.step for entry in entries(tmp_path)] == [8, 12]


def whole_or_part(train, directory, stop=None):
    """One fit of three epochs in `directory`, or what a stop leaves to do of it; the table too."""
    loop, state = made()
    log = jsonl(directory / "metrics.jsonl")
    ask = {} if stop is None else {"stop": lambda step: step == stop}
    saves = checkpoint(directory / "c", every=3, flush=[log], **ask)
    out = io.StringIO()
    state, history = train(
        loop, state, BATCHES, BATCHES[:2], epochs=3, observers=[table(file=out), log, saves],
        resume=resume(directory / "c", say=lambda line: None),
    )  # fmt: skip
    rows = out.getvalue().splitlines()[1:-1]  # between the head and the foot
    return state, history, [row.split()[:4] for row in rows]


@pytest.mark.parametrize(
    "train, stops",
    [(fit, [1, 2, 4, 5, 11]), (partial(fit_one_cycle, learning_rate=0.1), [3])],
)
def test_stopped_and_resumed_it_ends_as_if_it_had_not_been(tmp_path, train, stops):
    """In an epoch, at its last step and after its first, and with a checkpoint just made."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    want, history, shown = whole_or_part(train, whole)
    for step in stops:
        with pytest.raises(Interrupted) as stopped:
            whole_or_part(train, parts, step)
        assert stopped.value.step == step
        assert stopped.value.path == entries(parts / "c")[-1].path(parts / "c")
    for _ in range(2):  # to the end, and once more when it is finished
        got, resumed, again = whole_or_part(train, parts)
        assert_same(got, want)
        assert again == shown and len(shown) == 3
        read = lambda directory: (directory / "metrics.jsonl").read_bytes()
        assert read(parts) == read(whole)
        for a, b in zip(resumed.rows, history.rows, strict=True):
            assert a | {"time": 0} == b | {"time": 0}


def test_values_that_do_not_match_stop_a_resumed_fit(tmp_path):
    loop, state = made()
    fit(loop, state, BATCHES, epochs=1, observers=[checkpoint(tmp_path, must_match={"data": "a"})])
    with pytest.raises(CheckpointError, match="data was a and is b"):
        fit(loop, state, BATCHES, epochs=2, resume=resume(tmp_path, must_match={"data": "b"}))


def test_a_damaged_newest_checkpoint_is_said_and_passed_over(tmp_path):
    loop, state = made()
    fit(loop, state, BATCHES, epochs=2, observers=[checkpoint(tmp_path)])
    newest = entries(tmp_path)[-1].path(tmp_path)
    (newest / "meta.json").write_text("{}")
    said = []
    fit(loop, state, BATCHES, epochs=3, resume=resume(tmp_path, say=said.append))
    assert "000002-step-8 is damaged" in said[0] and "an older one is used" in said[0]
    assert said[1] == f"Going on from {tmp_path / '000001-step-4'}, after 4 steps."
    assert len(said) == 2


def test_a_state_that_cannot_be_saved_is_refused_before_the_fit(tmp_path):
    report = SimpleNamespace(state={"codes": jnp.zeros(3, jnp.uint4)}, history=None)
    with pytest.raises(TypeError, match="'codes' must be of a dtype that Orbax can write"):
        checkpoint(tmp_path).on["before_fit"](report)
    assert not any(tmp_path.iterdir())


def test_what_a_killed_process_left_is_cleaned_at_the_next_start(tmp_path):
    (tmp_path / ".000001-step-4.tmp" / "state").mkdir(parents=True)
    loop, state = made()
    fit(loop, state, BATCHES, epochs=1, observers=[checkpoint(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["000001-step-4"]


def wait_for(directory):
    """Wait until there is a checkpoint."""
    while not entries(directory):
        time.sleep(0.01)


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["check_space", "begin_write", "write_meta", "publish"])
def test_on_a_full_disk_the_run_goes_on(tmp_path, monkeypatch, where):
    """From the second epoch on, at each of the places at which a save can meet it."""
    loop, state = made()
    said = []

    def fill(report):
        if report.epoch == 1:
            wait_for(tmp_path)
            monkeypatch.setattr(saving, where, no_space)

    observers = [checkpoint(tmp_path, say=said.append), Observer({"before_epoch": fill})]
    fit(loop, state, BATCHES, epochs=3, observers=observers)
    assert len(said) == 2
    assert "after 8 steps could not be saved" in said[0] and "no space left" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["000001-step-4"]
    assert newest_intact(tmp_path)[1].step == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("foreseen", [True, False])
def test_on_a_file_system_that_is_full_the_run_goes_on(tmp_path, capfd, monkeypatch, foreseen):
    """Found out before the save begins, or, as if another filled it up, in the midst of it."""
    if not foreseen:
        monkeypatch.setattr(saving, "check_space", lambda *args: None)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True
    )
    if done.returncode:
        pytest.skip("no right to mount a file system here")
    try:
        loop, state = made()
        said = []

        def fill(report):
            if report.epoch == 1:
                wait_for(tmp_path / "c")
                with (tmp_path / "ballast").open("wb", buffering=0) as file:
                    with pytest.raises(OSError, match="No space"):
                        while file.write(bytes(4096)):
                            pass
            if report.epoch == 2:
                assert [entry.step for entry in entries(tmp_path / "c")] == [4]
                assert restore(tmp_path / "c", state).meta.step == 4
            if report.epoch == 3:
                while list((tmp_path / "c").glob(".*.tmp")):  # the save under way must fail too
                    time.sleep(0.01)
                (tmp_path / "ballast").unlink()

        log = jsonl(tmp_path / "metrics.jsonl")
        saves = checkpoint(tmp_path / "c", say=said.append, flush=[log])
        observers = [log, saves, Observer({"before_epoch": fill})]
        fit(loop, state, BATCHES, epochs=4, observers=observers)
        assert all("no space left" in line or "Orbax" in line for line in said), said
        assert any("metrics could not be written" in line for line in said)
        assert sum("the checkpoint after" in line for line in said) == 2
        assert [entry.step for entry in entries(tmp_path / "c")] == [4, 16]
        assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 20
        assert not foreseen or capfd.readouterr().err == ""
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
        gc.collect()  # what Orbax has left undone is complained of here, and not in another test


def test_stopping_when_nothing_can_be_saved_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "begin_write", no_space)
    loop, state = made()
    saves = checkpoint(tmp_path, stop=lambda step: True, say=lambda line: None)
    with pytest.raises(Interrupted, match="stopped after 1 step; not saved") as stopped:
        fit(loop, state, BATCHES, epochs=1, observers=[saves])
    assert stopped.value.path is None


def test_a_save_waits_for_the_one_before(tmp_path, monkeypatch):
    """However slow writing is, no save is dropped and no two overlap."""
    running, most = 0, 0
    write = saving.file_digests

    def slow(*args, **kwargs):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.05)
        running -= 1
        return write(*args, **kwargs)

    monkeypatch.setattr(saving, "file_digests", slow)
    loop, state = made()
    fit(loop, state, BATCHES, epochs=1, observers=[checkpoint(tmp_path, every=1)])
    assert most == 1 and entries(tmp_path)[-1].number == 5


def test_a_save_of_a_fit_that_raised_ends_before_the_next_begins(tmp_path, monkeypatch):
    """What it has written so far is not taken for what a killed process has left."""
    write, said = saving.file_digests, []

    def slow(*args, **kwargs):
        time.sleep(0.5)
        return write(*args, **kwargs)

    def train(epoch, start):
        yield BATCHES[0]
        raise RuntimeError("reader")

    loop, state = made()
    saves = checkpoint(tmp_path, every=1, say=said.append)
    monkeypatch.setattr(saving, "file_digests", slow)
    with pytest.raises(RuntimeError, match="reader"):
        fit(loop, state, train, epochs=1, observers=[saves])
    names = lambda report: said.append([entry.step for entry in entries(tmp_path)])
    fit(loop, state, BATCHES[:1], epochs=1, observers=[saves, Observer({"before_fit": names})])
    assert said == [[1]]


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"every": 0}, "`every` must be positive; got 0"),
        ({"best": ("mae", "up")}, r"`best` must be \(column"),
        (
            {"best": ("f1", "max")},
            "observer 'checkpoint' watches 'f1', which must be in the epoch table; its",
        ),
        (
            {"best": ("valid_loss", "min")},
            "'checkpoint' watches 'valid_loss', which needs",
        ),
    ],
)
def test_bad_arguments_are_refused(tmp_path, wrong, said):
    loop, state = made()
    with pytest.raises(ValueError, match=said):
        fit(loop, state, BATCHES, epochs=1, observers=[checkpoint(tmp_path, **wrong)])


def test_an_observer_without_a_name_is_told_by_its_functions():
    loop, state = made()
    mine = Observer({"after_epoch": print}, watches="f1")
    with pytest.raises(ValueError, match="the observer of print watches 'f1'"):
        fit(loop, state, BATCHES, epochs=1, observers=[mine])


def test_without_orbax_it_says_what_to_install_before_the_fit(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"needs Orbax.*pip install gradtx\[train\]"):
        checkpoint(tmp_path)


def test_orbax_and_grain_are_loaded_only_where_they_are_used(tmp_path):
    """They take a good part of the time that a run needs to begin."""
    code = (
        "import sys, gradtx.data, gradtx.checkpoint\n"
        "from gradtx.observers import checkpoint\n"
        f"checkpoint({str(tmp_path)!r})\n"
        "print([name for name in ('grain', 'orbax.checkpoint') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_saves_into_what_a_jitted_step_returns(tmp_path):
    """The state that is saved is that of the moment, though its buffers are donated."""
    loop, state = made()
    copies = {}
    keep = lambda r: copies.update({r.batch: jax.tree.map(lambda x: x.copy(), r.state)})
    observers = [
        Observer({"after_batch": keep}),
        checkpoint(tmp_path, every=1, stop=lambda s: s == 3),
    ]
    with pytest.raises(Interrupted):
        fit(loop, state, BATCHES, epochs=1, observers=observers)
    assert_same(restore(tmp_path, state).state, copies[3])
