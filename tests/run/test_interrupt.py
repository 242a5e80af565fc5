"""Ctrl-C where nothing is to be saved: at once, with a line, whatever the main thread does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradtx.observers import stop_on_signals
from gradtx.run.interrupt import ending_at_once

ROOT = Path(__file__).parents[2]
# As a program of JAX: a call of C that no handler of Python's can end.
BUSY = """
import ctypes
from gradtx.run.interrupt import ending_at_once
with ending_at_once():
    print("begun", flush=True)
    while True:
        ctypes.CDLL(None).sleep(60)
"""


def interrupted(process, *, within):
    """Its standard error and status, once Ctrl-C has ended it."""
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begun < within
    return said, process.returncode


def start(*words, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *words], **pipes, **options)


def test_a_process_that_computes_ends_at_once():
    process = start("-c", BUSY)
    assert process.stdout.readline() == "begun\n"
    said, status = interrupted(process, within=5)
    assert status == 130 and said == "error: interrupted; what was written before is kept.\n"


@pytest.mark.thorough
def test_a_sweep_ends_at_once_and_keeps_the_epochs_that_are_done(tmp_path):
    argv = "--sweep lr=1e-3:1e-1:3 --epochs 500 --size 8 --limit-batches 20".split()
    process = start("train.py", *argv, "--out", str(tmp_path / "a"), cwd=ROOT)
    while not (tmp_path / "a" / "sweep.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    said, status = interrupted(process, within=5)
    assert status == 130 and said.endswith("error: interrupted; what was written before is kept.\n")
    assert '"epochs": ' in (tmp_path / "a" / "sweep.json").read_text()


def test_where_there_is_something_to_save_the_fit_is_asked():
    """And afterwards, and outside, all is as it was."""
    before = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    with ending_at_once(), stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop(1)
    assert (signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)) == before


def test_what_is_not_alone_gets_its_own_error():
    # A shell's background job ignores the signal from its start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ending_at_once(alone=False):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)
