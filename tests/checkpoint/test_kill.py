"""Real processes are killed at any moment; what they end with does not show it."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train as script
from gradtx.checkpoint import entries, newest_intact

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server():
    """A function that starts a process for a directory; see victim.py."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.checkpoint.victim"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=env, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def start(directory):
            print(directory, file=process.stdin, flush=True)
            pid = int(process.stdout.readline())
            return pid, lambda: int(process.stdout.readline())

        yield start
        process.stdin.close()


def hidden(directory):
    """The checkpoints that are being written or removed."""
    return list((directory / "checkpoints").glob(".*.tmp"))


def signalled(pid, number):
    """Whether there was still such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def in_a_save(directory, pid, rng):
    """Wait until one of the next saves has begun, or the process has ended, and a little more."""
    seen, count = set(), rng.randint(1, 3)
    while len(seen) < count and signalled(pid, 0):
        seen |= {path.name for path in hidden(directory)}
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.1))


def at_the_start(directory, pid, rng):
    time.sleep(rng.uniform(0, 0.5))


def later(directory, pid, rng):
    time.sleep(rng.uniform(0.5, 3))


def table_of(text, columns):
    """The first columns of the epoch table in what was printed."""
    lines = [line.split() for line in text.splitlines()]
    return [words[:columns] for words in lines if words and words[0].isdigit()]


def outcome(directory):
    """All that must not depend on interruptions: state, metrics, and the table without times."""
    rows = table_of((directory / "out.txt").read_text(), 3)
    meta = newest_intact(directory / "checkpoints")[1]
    final, metrics = (directory / name for name in ("final.bin", "metrics.jsonl"))
    return final.read_bytes(), metrics.read_bytes(), rows, meta.leaves, meta.step, meta.score


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """The outcome of a run that nothing interrupts."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    directory.mkdir()
    _, ended = server(directory)
    assert ended() == 0, (directory / "out.txt").read_text()
    found = outcome(directory)
    assert len(found[2]) == 4
    return directory.parent, found


def run_killed(server, directory, waits, rng):
    """A run that is killed after each of `waits`, until it ends; whether each kill hit a save."""
    directory.mkdir()
    waits, hits = list(waits), []
    while not (directory / "final.bin").exists():
        pid, ended = server(directory)
        if waits:
            waits.pop(0)(directory, pid, rng)
            signalled(pid, signal.SIGKILL)
        status = ended()
        assert status in (0, -signal.SIGKILL), (directory / "out.txt").read_text()
        if status:
            hits.append(bool(hidden(directory)))
    return hits


def assert_same_outcome(directory, want):
    assert outcome(directory) == want
    assert not hidden(directory) and len(entries(directory / "checkpoints")) == 2


def test_killed_and_resumed_it_ends_as_if_it_had_not_been(server, whole):
    base, want = whole
    run_killed(server, base / "few", [at_the_start, in_a_save, in_a_save], random.Random(0))
    assert_same_outcome(base / "few", want)


@pytest.mark.thorough
def test_killed_at_random_it_ends_as_if_it_had_not_been(server, whole):
    """Half of the kills come in the midst of a save, as far as that can be had."""
    base, want = whole
    rng, hits, run = random.Random(0), [], 0
    while len(hits) < 24:
        run += 1
        directory = base / f"parts{run}"
        waits = [rng.choice([in_a_save, in_a_save, at_the_start, later]) for _ in range(24)]
        hits += run_killed(server, directory, waits[len(hits) :], rng)
        assert_same_outcome(directory, want)
    assert any(hits)


TRAIN = "--model mlp --epochs 4 --limit-batches 8 --save-every 3".split()
# train.py, but with a signal to itself: when it reads a batch, or has nearly written a checkpoint.
SIGNALLED = """
import os, signal, sys
import gradtx.checkpoint.saving as saving
import train
from gradtx import data

kind, *argv = sys.argv[1:]
read, write = data.train_batches, saving.write_meta

def train_batches(*args, epoch, start, **options):
    for number, batch in enumerate(read(*args, epoch=epoch, start=start, **options), start):
        if (kind, epoch, number) == ("read", 1, 2):
            os.kill(os.getpid(), signal.SIGTERM)
        yield batch

def write_meta(directory, meta):
    if (kind, meta.step) == ("write", 18):
        os.kill(os.getpid(), signal.SIGKILL)
    write(directory, meta)

data.train_batches, saving.write_meta = train_batches, write_meta
sys.exit(train.main(argv))
"""


def train(kind, *argv):
    """(status, standard output, standard error) of train.py in a process of its own."""
    command = [sys.executable, "-c", SIGNALLED, kind, *map(str, argv)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.thorough
def test_train_py_terminated_and_killed_ends_as_if_it_had_not_been(tmp_path, capsys):
    """In the second epoch by SIGTERM, and while the third is saved by SIGKILL."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert script.main([*TRAIN, "--out", str(whole)]) == 0
    want = table_of(capsys.readouterr().out, 4)

    status, shown, errors = train("read", *TRAIN, "--out", parts)
    assert status == 0 and not errors
    assert shown.splitlines()[-1].startswith("Stopped after ")
    assert shown.splitlines()[-1].endswith(f"python train.py --resume {parts}")

    status, shown, errors = train("write", "--resume", parts)
    assert status == -signal.SIGKILL, errors
    assert hidden(parts)

    assert script.main(["--resume", str(parts)]) == 0
    shown = capsys.readouterr().out
    assert "Going on from" in shown and table_of(shown, 4) == want
    metrics = [(run / "metrics.jsonl").read_bytes() for run in (whole, parts)]
    assert metrics[0] == metrics[1]
    leaves = [newest_intact(run / "checkpoints")[1].leaves for run in (whole, parts)]
    assert leaves[0] == leaves[1]
