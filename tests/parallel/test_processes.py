"""Several real processes on this machine, talking by gloo."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import train as script
from gradtx.parallel import processes

ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 6, 6
RUN = f"--model mlp --batch-size 32 --limit-batches {STEPS} --epochs {EPOCHS}".split()
# Sums are made in another order; relative.
TOLERANCE = 1e-5


def free_port():
    """One below those that the system gives out, so that nobody is given it in between."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("localhost", port))
            return port
    raise OSError("no port is free")


def start(argv, *, devices=1, **environment):
    """A process of the job; its output is read at its end."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags} | environment
    return subprocess.Popen(
        [sys.executable, *map(str, argv)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def start_both(*argv, second=("train.py",), **how):
    where = ["--coordinator", f"localhost:{free_port()}", "--processes", 2, "--process-id"]
    first = start(["train.py", *argv, *where, 0], **how)
    return [first, start([*second, *argv, *where, 1], **how)]


def end(processes, timeout=300):
    """(status, stdout, stderr) of each."""
    try:
        ended = [(*p.communicate(timeout=timeout), p.returncode) for p in processes]
    finally:
        for process in processes:
            process.kill()
    return [(status, out, error) for out, error, status in ended]


# What gloo prints of each connection, in pieces: the lines of its threads may be mixed up.
GLOO = re.compile(
    r"\[Gloo\] Rank|is connected to|Expected number of connected peer ranks is :|peer ranks\.|\d+"
)


def is_silent(out):
    """Whether nothing but gloo has printed."""
    return not GLOO.sub("", out).strip()


def numbers(out, kind):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    keys = ("loss", "step") if kind == "step" else ("train_loss", "valid_loss", "accuracy")
    return np.array([[line[key] for key in keys] for line in lines if line["kind"] == kind])


# train.py, but killed in the fourth epoch, by when the second's save has ended.
DOOMED = """
import os, signal, sys
import train
from gradtx import data
real = data.train_batches
def doomed(*args, epoch, **options):
    for number, batch in enumerate(real(*args, epoch=epoch, **options)):
        if (epoch, number) == (3, 2):
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch
data.train_batches = doomed
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run that all are compared with: this process, one device."""
    out = tmp_path_factory.mktemp("one")
    assert script.main([*RUN, "--out", str(out)]) == 0
    return out


@pytest.mark.thorough
def test_two_processes_train_as_one(one, tmp_path):
    """Each with two devices and its half of every batch; the first alone writes and prints."""
    first, second = end(start_both(*RUN, "--out", tmp_path, "--mesh", "data=2,fsdp=2", devices=2))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "Devices: 4 of 2 process(es), as data=2,fsdp=2." in first[1]
    assert "Validation accuracy" in first[1] and is_silent(second[1])
    for kind in ("step", "epoch"):
        got, want = numbers(tmp_path, kind), numbers(one, kind)
        assert len(want) == {"step": STEPS * EPOCHS, "epoch": EPOCHS}[kind]
        np.testing.assert_allclose(got, want, rtol=TOLERANCE)


@pytest.mark.thorough
def test_a_killed_process_ends_the_job_which_resumes(one, tmp_path):
    """On another mesh, each process with two devices; all that it prints is the first's."""
    job = start_both(*RUN, "--out", tmp_path, "--mesh", "fsdp=2", second=["-c", DOOMED])
    (status, _, error), killed = end(job)
    assert killed[0] == -signal.SIGKILL
    assert status == 1
    assert error.splitlines()[-1].startswith("error: process 0 of 2 has lost another one")
    assert error.splitlines()[-1].endswith("with --resume and the run's directory.")
    assert 2 <= len(numbers(tmp_path, "epoch")) < EPOCHS
    mesh = ["--mesh", "data=2,fsdp=2"]
    resumed = end(start_both("--resume", tmp_path, *mesh, devices=2))
    assert [status for status, _, _ in resumed] == [0, 0], resumed
    assert "Devices: 4 of 2 process(es), as data=2,fsdp=2." in resumed[0][1]
    assert f"Going on from {tmp_path}" in resumed[0][1] and is_silent(resumed[1][1])
    for kind in ("step", "epoch"):
        np.testing.assert_allclose(numbers(tmp_path, kind), numbers(one, kind), rtol=TOLERANCE)


JOIN = """
import sys
import jax
from gradtx.parallel.processes import from_first, is_first, join
assert join(options={"--lr": sys.argv[1], "--out": "ü" * int(sys.argv[1])})
index = jax.process_index()
print("joined", index, jax.process_count(), from_first(7 + index), is_first())
"""


def join_by_slurm(*rates):
    job = str(os.getpid())  # it decides the port
    step = {"SLURM_JOB_ID": job, "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    step |= {"SLURM_NTASKS": str(len(rates)), "SLURM_LOCALID": "0"}
    tasks = [start(["-c", JOIN, x], SLURM_PROCID=str(i), **step) for i, x in enumerate(rates)]
    return end(tasks)


def test_tasks_of_slurm_find_each_other():
    first, second = join_by_slurm("1", "1")
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "joined 0 2 7 True\n" in first[1]
    assert "joined 1 2 7 False\n" in second[1]


@pytest.mark.thorough
def test_tasks_of_slurm_with_other_options_are_told_so():
    for status, _, error in join_by_slurm("1", "20"):
        assert status == 1
        assert "JoinError: join: all processes must be started with the same options" in error
        assert "process 1 was started with --lr 20 (process 0: 1), --out üü" in error


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("more", "count", "said"),
    [
        (["--lr .1", "--lr .001"], 2, "process 1 was started with --lr 0.001 (process 0: 0.1)."),
        (["--out {}/a", "--out {}/b --epochs 2"], 2, "with --epochs 2 (process 0: 3), --out "),
        (["", ""], 3, "3 processes must come within 12 s; got 2, without number 2."),
        (["", "--process-id 0"], 2, "got 0 twice"),
    ],
)
def test_a_job_that_cannot_be_joined_is_one_line_in_all_processes(tmp_path, more, count, said):
    where = ["--coordinator", f"localhost:{free_port()}", "--processes", count]
    limits = ["--model", "mlp", "--join-timeout", 12, "--out", tmp_path / "run"]
    begin = time.monotonic()
    job = [
        start(["train.py", *limits, *where, "--process-id", i, *words.format(tmp_path).split()])
        for i, words in enumerate(more)
    ]
    ended = end(job)
    assert time.monotonic() - begin < 60  # with the start of the processes
    for status, _, error in ended:
        assert status == 1 and error.count("\n") == 1, error
        assert error.startswith("error: join: ") and said in error
    assert not any(tmp_path.iterdir())


@pytest.mark.thorough
@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_is_killed_ends_the_others_soon(tmp_path, lost):
    endless = [*RUN, "--epochs", 10_000, "--out", tmp_path / "run"]
    job = start_both(*endless)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert all(process.poll() is None for process in job)
        time.sleep(0.1)
    job[lost].kill()
    begin = time.monotonic()
    status, _, error = end([job[1 - lost]], timeout=60)[0]
    job[lost].communicate()
    assert time.monotonic() - begin < 10
    if lost == 1:
        assert status == 1 and "error: process 0 of 2 has lost another one" in error
    else:  # JAX may be first, and aborts
        assert status in (1, -signal.SIGABRT)


@pytest.mark.thorough
def test_a_process_that_waits_to_join_heeds_sigterm():
    where = f"--coordinator localhost:{free_port()} --processes 2 --process-id 1".split()
    process = start(["train.py", "--model", "mlp", *where])
    time.sleep(15)  # by now it waits
    assert process.poll() is None
    process.terminate()
    begin = time.monotonic()
    ((status, _, error),) = end([process], timeout=30)
    assert time.monotonic() - begin < 5 and status != 0 and "Traceback" not in error


def test_one_task_and_a_login_shell_are_alone(monkeypatch):
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "4")  # as `sbatch` sets it, without `srun`
    assert processes.slurm_tasks() == 1 and not processes.join()
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert processes.slurm_tasks() == 4 and not processes.join(detect="off")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert not processes.join()


@pytest.mark.parametrize(
    "argv, said",
    [
        ("--mesh data", "train.py: --mesh must be NAME=SIZE, for example data=4,fsdp=2"),
        ("--mesh data=8,model=1", "--mesh has the axes data and fsdp; got 'model'. Use those."),
        ("--mesh data=4", "train.py: --mesh must multiply to the number of devices, 8; got"),
        ("--mesh data=8 --batch-size 12", "multiple of the number of devices, 8; got 12. Use 16."),
        ("--mesh data=8 --sweep lr=1:2:3", "`--sweep` and `--find-lr` are for one process"),
        ("--processes 2", "train.py: --coordinator, processes and process-id go together"),
        (
            "--coordinator a:1 --processes 2 --process-id 2",
            "must be from 0 to processes - 1; got 2",
        ),
        ("--coordinator a --processes 2 --process-id 0", "must be HOST:PORT of process 0"),
        ("--coordinator a:99999 --processes 2 --process-id 0", "must be HOST:PORT of process 0"),
    ],
)
def test_bad_places_are_one_line(argv, said, tmp_path, capsys):
    out = tmp_path / "run"
    assert script.main([*"--model mlp --out".split(), str(out), *argv.split()]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ") and said in line
    assert not out.exists()


def test_errors_of_one_process_are_left_alone():
    with pytest.raises(ZeroDivisionError), processes.ending_together():
        raise ZeroDivisionError


def test_leaving_alone_is_exiting():
    with pytest.raises(SystemExit) as stop:
        processes.leave(3)
    assert stop.value.code == 3
