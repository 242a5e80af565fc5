"""Two runs at once: a directory is one process's, as long as it lives."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gradtx.run.directory import RunOptions, take_directory
from gradtx.run.lock import NAME, lock


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    code = f"""
from pathlib import Path
from gradtx.run.lock import lock
lock(Path({str(tmp_path)!r}), "x")
print("held", flush=True)
input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_with_the_first_ones_number_until_that_is_killed(tmp_path, holder):
    said = f"`--out` must not be in use; got .*, which process {holder.pid} writes to. Wait"
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            lock(tmp_path, "train.py: `--out`")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / NAME).exists()  # which counts for nothing
    lock(tmp_path, "x")()
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("left", [f"process {os.getppid()} on elsewhere\n", "process 1\n", "\0"])
def test_a_file_that_nobody_holds_is_taken_over(tmp_path, left):
    """Whoever has its process's number now, and from whatever host."""
    (tmp_path / NAME).write_text(left)
    let_go = lock(tmp_path, "x")
    assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} on ")
    with pytest.raises(ValueError, match=f"process {os.getpid()} writes to"):
        lock(tmp_path, "x")
    let_go()
    assert not list(tmp_path.iterdir())


def test_who_waits_at_a_file_that_is_removed_takes_the_next(tmp_path):
    """Of many that take and let go at once, one at a time holds the lock."""
    inside, most = 0, 0

    def some(_):
        nonlocal inside, most
        for _ in range(50):
            try:
                let_go = lock(tmp_path, "x")
            except ValueError:
                continue
            inside += 1
            most = max(most, inside)
            inside -= 1
            let_go()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    assert most == 1 and not list(tmp_path.iterdir())


def test_runs_that_begin_in_one_second_have_directories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gradtx.run.directory.time.time", lambda: 1e9)
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: take_directory(RunOptions(), resuming=False), range(4)))
    names = sorted(out.name for out, _ in taken)
    base = names[0]
    assert names == [base, f"{base}-2", f"{base}-3", f"{base}-4"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == names
    for _, let_go in taken:
        let_go()
