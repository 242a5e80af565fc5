"""Real processes are killed at random moments; what they end with does not show it."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradtx.checkpoint import entries, newest_intact

# Real processes and disks, on a machine that may be busy; what fails three times fails.
pytestmark = pytest.mark.flaky(reruns=2)

ROOT = Path(__file__).parents[2]
KILLS = 24


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


def wait_for_a_save(directory, count, running):
    """Until the `count`-th save from now has begun, or the process has ended."""
    seen = set()
    while len(seen) < count and running():
        seen |= {path.name for path in hidden(directory)}
        time.sleep(0.0005)


def kill_at_random(directory, pid, rng):
    """Half of the times in the midst of a save; else at any context, early ones included."""
    if rng.random() < 0.5:
        wait_for_a_save(directory, rng.randint(1, 3), lambda: signalled(pid, 0))
        time.sleep(rng.uniform(0, 0.1))
    else:
        time.sleep(rng.choice([rng.uniform(0, 0.5), rng.uniform(0.5, 3)]))
    signalled(pid, signal.SIGKILL)


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


def test_killed_at_random_and_resumed_it_ends_as_if_it_had_not_been(server, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    _, ended = server(whole)
    assert ended() == 0, (whole / "out.txt").read_text()
    want = outcome(whole)
    assert len(want[2]) == 4
    rng, kills, in_saves, run = random.Random(0), 0, 0, 0
    while kills < KILLS:
        run += 1
        parts = tmp_path / f"parts{run}"
        parts.mkdir()
        while not (parts / "final.bin").exists():
            pid, ended = server(parts)
            if kills < KILLS:
                kill_at_random(parts, pid, rng)
            status = ended()
            assert status in (0, -signal.SIGKILL), (parts / "out.txt").read_text()
            kills += status != 0
            in_saves += bool(status and hidden(parts))
        assert outcome(parts) == want
        assert not hidden(parts) and len(entries(parts / "checkpoints")) == 2
    assert in_saves > 0


TRAIN = "--model mlp --epochs 6 --limit-batches 12 --save-every 3".split()


def train(*argv):
    command = [sys.executable, "train.py", *map(str, argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def running(process):
    return lambda: process.poll() is None


def test_train_py_terminated_and_killed_ends_as_if_it_had_not_been(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    out, errors = train(*TRAIN, "--out", whole).communicate(timeout=300)
    assert len(table_of(out, 4)) == 6, errors

    process = train(*TRAIN, "--out", parts)
    wait_for_a_save(parts, 1, running(process))
    process.send_signal(signal.SIGTERM)
    shown, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and not errors
    assert shown.splitlines()[-1].startswith("Stopped after ")
    assert shown.splitlines()[-1].endswith(f"python train.py --resume {parts}")

    for count in (1, 2):
        process = train("--resume", parts)
        wait_for_a_save(parts, count, running(process))
        process.kill()
        assert process.communicate(timeout=300) and process.returncode == -signal.SIGKILL
    process = train("--resume", parts)
    shown, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Going on from" in shown and table_of(shown, 4) == table_of(out, 4)
    metrics = [(run / "metrics.jsonl").read_bytes() for run in (whole, parts)]
    assert metrics[0] == metrics[1]
    leaves = [newest_intact(run / "checkpoints")[1].leaves for run in (whole, parts)]
    assert leaves[0] == leaves[1]
