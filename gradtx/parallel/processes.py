"""The processes of one job: joining them, and ending together.

JAX's own runtime does the work. Each process runs the same program; `jax.devices()` are those of
all, and what a step needs of another process is sent by XLA: over NVLink, InfiniBand or ICI, on
CPUs by gloo over TCP.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import (
    broadcast_one_to_all,
    process_allgather,
    sync_global_devices,
)

from gradtx.kinds import checked
from gradtx.output import lossy, say_on_stderr, say_on_stdout
from gradtx.parallel.call import Call, JoinError, differences
from gradtx.parallel.roll_call import call_roll

# What the runtimes say when a process is gone: gloo, NCCL, JAX's coordination service.
LOST = re.compile(
    r"(?i:gloo|nccl|coordination service|connection reset|connection closed)"
    r"|UNAVAILABLE|DEADLINE_EXCEEDED"
)


def check_processes(
    coordinator: str | None, processes: int | None, process_id: int | None, where: str = "join: "
) -> None:
    """Raise an error unless the three are absent, or right together.

    Args:
        coordinator: HOST:PORT of process 0.
        processes: how many there are.
        process_id: the number of this one, from 0 on.
        where: how the message of an error begins.

    Raises:
        ValueError: beginning with `where`.
    """
    given = [x is not None for x in (coordinator, processes, process_id)]
    if not any(given):
        return
    if coordinator is None or processes is None or process_id is None:
        raise ValueError(
            f"{where}coordinator, processes and process-id go together; got only some of them."
            " Give all three, or none."
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"{where}coordinator must be HOST:PORT of process 0, for example node0:8476; got"
            f" {coordinator!r}. Write it so, in all processes."
        )
    if not 0 <= process_id < processes:
        raise ValueError(
            f"{where}process-id must be from 0 to processes - 1; got {process_id} with"
            f" {processes}. Number the processes from 0."
        )


@checked
def join(
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    detect: str | None = None,
    options: Mapping[str, str] | None = None,
    start_timeout: int = 300,
    heartbeat_timeout: int = 100,
) -> bool:
    """Join this process to the others of its job, before anything else is asked of JAX.

    Returns whether it has joined others.

    With `coordinator`, process 0 first calls the roll on its port: who is missing, has another's
    number or other options ends all with the same message. If process 0 is lost later, JAX ends the
    others at once, by SIGABRT; no exception can be raised of it.

    Args:
        coordinator: HOST:PORT of process 0; None if the environment tells, or for one process.
        processes: how many there are, with `coordinator`.
        process_id: the number of this one, from 0 on, with `coordinator`.
        detect: without `coordinator`, whether JAX asks the environment: "auto" does (a TPU pod
            slice, Slurm, Open MPI, Kubernetes); None does so under Slurm alone, if `srun` has
            started several tasks; "off" is one process on its own.
        options: what must be the same in all processes, by name.
        start_timeout: how long the processes wait for each other, in seconds.
        heartbeat_timeout: a process that is not heard of for so many seconds ends all others.

    Raises:
        ValueError: as `check_processes`, or if nothing is detected.
        JoinError: if a process is missing or one too many, can't be reached, or has other options.
    """
    check_processes(coordinator, processes, process_id)
    own = dict(options or {})
    limits: dict[str, Any] = {
        "initialization_timeout": start_timeout,
        "heartbeat_timeout_seconds": heartbeat_timeout,
    }
    if coordinator is not None and processes is not None and process_id is not None:
        call = Call(process_id, processes, own)
        where = call_roll(coordinator, call, timeout=start_timeout, say=say_on_stdout)
        _initialize(
            coordinator_address=coordinator,
            num_processes=processes,
            process_id=process_id,
            cluster_detection_method="deactivate",
            coordinator_bind_address=where,
            **limits,
        )
        return processes > 1
    elif detect == "auto":
        try:
            _initialize(**limits)
        except ValueError as error:
            raise ValueError(
                "join: the environment must tell which processes there are (a TPU pod slice, srun,"
                " mpirun); got none that JAX knows. Give coordinator, processes and process-id."
            ) from error
    elif detect is None and slurm_tasks() > 1:
        _initialize(cluster_detection_method="slurm", **limits)
    else:
        return False
    if problem := differences(_gathered(own)):
        raise JoinError(
            f"join: all processes must be started with the same options; got other ones: {problem}."
            " Start all with the same."
        )
    return jax.process_count() > 1


def _initialize(**how: Any) -> None:
    try:
        jax.distributed.initialize(**how)
    except RuntimeError as error:
        raise JoinError(
            f"join: JAX must connect the processes within {how['initialization_timeout']} s; got"
            f" {_first_line(error)!r}. Start them all again."
        ) from error


def _gathered(options: Mapping[str, str]) -> dict[int, Call]:
    """What each process of a job that is joined says of itself."""
    data = np.frombuffer(json.dumps(dict(options)).encode(), np.uint8)
    sizes = process_allgather(np.int32(data.size)).reshape(-1)
    padded = np.zeros(max(sizes), np.uint8)
    padded[: data.size] = data
    texts = process_allgather(padded).reshape(len(sizes), -1)
    parsed = [json.loads(bytes(t[:n])) for t, n in zip(texts, sizes, strict=True)]
    return {number: Call(number, len(sizes), found) for number, found in enumerate(parsed)}


def slurm_tasks() -> int:
    """The number of tasks that `srun` has started for this step; 1 outside of one."""
    step = "SLURM_STEP_ID" in os.environ and "SLURM_PROCID" in os.environ
    return int(os.environ.get("SLURM_NTASKS", "1")) if step else 1


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


@checked
def say(*lines: str) -> None:
    """Print, in the first process.

    Args:
        *lines: as for `print`.
    """
    if is_first():
        print(*lines, file=lossy(sys.stdout), flush=True)


def from_first(number: int) -> int:
    """The first process's `number`, in all processes.

    Args:
        number: a whole number that fits in 32 bits.
    """
    if jax.process_count() == 1:
        return number
    return int(broadcast_one_to_all(np.int32(number)))


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process runs the block alone, then the others at once: to fill a cache."""
    if not is_first():
        sync_global_devices("first_before_others")
    yield
    if is_first():
        sync_global_devices("first_before_others")


def is_lost(error: Exception) -> bool:
    """Whether an error says that another process of the job is gone.

    Args:
        error: raised by JAX, or by what uses it.
    """
    return jax.process_count() > 1 and LOST.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


@contextmanager
def ending_together(remedy: str = "Start them all again.") -> Iterator[None]:
    """In the block an error ends this process at once, with status 1, and so the others too.

    Without it the process would first wait for the others, which may wait for it. A lost process is
    one line, any other error a traceback. A process on its own is left alone.

    Args:
        remedy: the end of the line about a lost process.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        if is_lost(error):
            line = (
                f"error: process {jax.process_index()} of {jax.process_count()} has lost another"
                f" one ({_first_line(error)}). {remedy}"
            )
            say_on_stderr(line)
        else:
            traceback.print_exc()
        leave(1)


@checked
def leave(status: int) -> None:
    """End this process; one that failed does not wait for the others of its job.

    Args:
        status: 0, or what says how it failed.
    """
    for stream in (sys.stdout, sys.stderr):
        lossy(stream).flush()
    if status and jax.process_count() > 1:
        os._exit(status)
    sys.exit(status)
