"""What progress and table print, on a terminal and elsewhere."""

import io
import itertools
import re
import sys
import time

import jax
import jax.numpy as jnp
import pytest

from gradtx.loop import History, Report, fit
from gradtx.observers import peaks, progress, table
from tests.observers.small import BATCHES, make

ROW = {"epoch": 0, "train_loss": 0.5, "valid_loss": float("nan"), "mae": 12.25, "time": 2.04}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def report(event, **changes):
    return Report(event, None, **{"epoch": 0, "epochs": 2, "batch": 0} | changes)


def play(observer, *, batches=3, epochs=2):
    """Tell an observer of a fit; returns how many logs it read."""
    reads = []

    class Loss:
        def __init__(self, step):
            self.step = step

        def __float__(self):
            reads.append(self.step)
            return 0.25 * self.step

    tell = lambda event, **changes: observer.on.get(event, lambda _: None)(report(event, **changes))
    tell("before_fit")
    for epoch in range(epochs):
        tell("before_epoch", epoch=epoch)
        for batch in range(1, batches + 1):
            log = {"train_loss": Loss(batch)}
            tell("after_batch", epoch=epoch, batch=batch, log=log)
        tell("before_validate", epoch=epoch, batch=batches)
        tell("after_epoch", epoch=epoch + 1, batch=batches, row=ROW | {"epoch": epoch})
    tell("after_fit", epoch=epochs)
    return reads


TABLE = """\
epoch  train_loss  valid_loss         mae        time
    0      0.5000           -     12.2500       2.0 s
    1      0.5000           -     12.2500       2.0 s
"""


def test_table_has_one_header_and_aligned_rows():
    file = io.StringIO()
    play(table(file=file))
    assert file.getvalue() == TABLE


def test_table_of_a_second_fit_has_its_own_header(capsys):
    observer = table()
    play(observer)
    play(observer)
    assert capsys.readouterr().out == TABLE * 2


@pytest.mark.parametrize("make_observer", [table, progress])
def test_a_resumed_fit_shows_the_epochs_before_it_too(make_observer):
    file = io.StringIO()
    observer = make_observer(file=file)
    observer.on["before_fit"](report("before_fit", history=History([ROW])))
    observer.on["after_epoch"](report("after_epoch", row=ROW | {"epoch": 1}))
    assert file.getvalue() == TABLE


def test_progress_elsewhere_is_the_table_alone_in_a_short_fit():
    file = io.StringIO()
    assert play(progress(file=file)) == []
    assert file.getvalue() == TABLE


def test_progress_lines():
    file = io.StringIO()
    assert play(progress(every=0, file=file)) == [1, 2, 3, 1, 2, 3]
    lines = file.getvalue().splitlines()
    assert lines[:3] == [
        "epoch 0, step 1: train_loss 0.2500",
        "epoch 0, step 2: train_loss 0.5000",
        "epoch 0, step 3: train_loss 0.7500",
    ]
    # The length of an epoch is known once one has passed.
    assert "epoch 1, step 2/3: train_loss 0.5000" in lines


def test_what_a_step_gets_through_is_shown_a_second(monkeypatch):
    """Of the training alone: the validation, and epochs before a resume, have no part in it."""
    clock = itertools.chain([0.0, 1.0], itertools.count(100.0))  # the epoch begins, training ends
    monkeypatch.setattr(time, "perf_counter", clock.__next__)
    file = io.StringIO()
    observer = progress(rate=(600, "images/s"), file=file)
    tell = lambda event, **more: observer.on[event](report(event, **more))
    tell("before_fit", history=History([ROW]))
    tell("before_epoch", epoch=1, batch=2)
    tell("before_validate", epoch=1, batch=6)
    tell("after_epoch", epoch=1, batch=6, row=ROW | {"epoch": 1})
    header, before, now = file.getvalue().splitlines()
    assert header.endswith("time    images/s")
    assert before.endswith("2.0 s           -") and now.endswith("2.0 s       2,400")
    shown = io.StringIO()
    play(progress(every=0, rate=(600, "images/s"), file=shown))
    assert re.search(r"step 2: train_loss 0.5000, [\d,]+ images/s\n", shown.getvalue())


def test_the_first_steps_compile_and_are_no_rate(monkeypatch):
    """The first of three steps ends after 50 s, the last after 2 more."""
    clock = itertools.chain([0.0, 50.0, 52.0], itertools.count(100.0))
    monkeypatch.setattr(time, "perf_counter", clock.__next__)
    file = io.StringIO()
    observer = progress(rate=(600, "images/s"), every=1e9, file=file)
    tell = lambda event, **more: observer.on[event](report(event, **more))
    tell("before_fit")
    tell("before_epoch")
    monkeypatch.setattr("gradtx.observers.throttle.Throttle.due", lambda self: False)
    for batch in (1, 2, 3):
        tell("after_batch", batch=batch)
    tell("before_validate", batch=3)
    tell("after_epoch", batch=3, row=ROW)
    assert file.getvalue().splitlines()[1].endswith("2.0 s         600")


def test_the_share_of_the_devices_peak_is_a_column(monkeypatch):
    """Five steps of .1 s each at the peak, in one second: a half."""
    clock = itertools.chain([0.0, 1.0], itertools.count(100.0))
    monkeypatch.setattr(time, "perf_counter", clock.__next__)
    file = io.StringIO()
    observer = progress(ideal=0.1, file=file)
    tell = lambda event, **more: observer.on[event](report(event, **more))
    tell("before_fit")
    tell("before_epoch")
    tell("before_validate", batch=5)
    tell("after_epoch", batch=5, row=ROW)
    header, row = file.getvalue().splitlines()
    assert header.endswith("time         mfu") and row.endswith("2.0 s      0.5000")


def test_the_time_at_the_devices_peak_is_that_of_its_operations(monkeypatch):
    """A product of [2, 3] and [3, 4] has 2 * 24 operations; this CPU is not in the table."""
    run = jax.jit(lambda a, b: a @ b)
    factors = jnp.zeros((2, 3)), jnp.zeros((3, 4))
    assert peaks.ideal_time(run, *factors) is None
    monkeypatch.setitem(peaks.PEAKS, jax.devices()[0].device_kind, peaks.Peak(100.0, 1.0))
    want = 48 / 100 / jax.device_count()
    assert peaks.ideal_time(run, *factors) == pytest.approx(want)


def test_progress_on_a_terminal_is_a_bar_below_the_table(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("gradtx.observers.throttle.monotonic", itertools.count().__next__)
    file = Terminal()
    reads = play(progress(steps_per_epoch=3, file=file))
    assert len(reads) == 6
    shown = file.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown)
    for line in TABLE.splitlines():
        assert line in plain
    assert re.search(r"epoch 1, validation .* 3/3", plain)
    assert re.search(r"epoch 0, compiling .* 0/3", plain) and "epoch 1, compiling" not in plain
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


def test_progress_reads_no_more_than_four_times_a_second(monkeypatch):
    # A clock that is looked at once a batch and moves by 10 ms each time: 200 batches in 2 s.
    clock = itertools.count(0, 0.01)
    monkeypatch.setattr("gradtx.observers.throttle.monotonic", clock.__next__)
    monkeypatch.setenv("TERM", "dumb")
    reads = play(progress(file=Terminal()), batches=200, epochs=1)
    assert 6 <= len(reads) <= 9


def test_progress_without_rich_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match=r"needs rich.*pip install gradtx"):
        progress(file=Terminal())
    progress(file=io.StringIO())  # plain lines do without


def test_a_fit_prints_the_rows_of_its_history():
    file = io.StringIO()
    loop, state = make()
    observers = [progress(file=file)]
    _, history = fit(loop, state, BATCHES, BATCHES[:1], epochs=2, observers=observers)
    header, *rows, foot = file.getvalue().splitlines()
    assert header.split() == [name for name in history.rows[0] if name != "train_loss_mean"]
    assert "train_loss is a running average" in foot and "train_loss_mean" in foot
    for line, row in zip(rows, history.rows, strict=True):
        assert line.split()[:4] == [
            str(row["epoch"]),
            *(f"{row[name]:.4f}" for name in ("train_loss", "valid_loss", "mae")),
        ]
