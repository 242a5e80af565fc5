"""From the command line to the exit status, for any job."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from jax.sharding import Mesh

from gradtx.checkpoint import CheckpointError
from gradtx.config import check_ignored, parse
from gradtx.data import DataError
from gradtx.observers import Interrupted, MetricsError
from gradtx.parallel.processes import is_first, join, say
from gradtx.run.directory import make_directory, resumed_config
from gradtx.run.job import Job, mesh_for, on_mesh
from gradtx.run.options import RunOptions
from gradtx.run.searches import check_sweep, find_lr, run_sweep
from gradtx.run.training import RunFailed, begin, describe_run, train

C = TypeVar("C", bound=RunOptions)


def launch(
    cls: type[C], make_job: Callable[[C], Job], argv: Sequence[str], *, description: str = ""
) -> int:
    """Run the job that `make_job` makes of the options in `argv`; returns the exit status.

    It trains, or searches with `--find-lr` and `--sweep`, and goes on with `--resume`, on whatever
    devices `--mesh` names and processes that there are. What it leaves is in `--out`: config.json,
    metrics.jsonl, event files, checkpoints, report.html. A signal to end (SIGTERM, Ctrl-C) saves
    first. Status 2 is for bad input, 1 for a run that failed; either with one line on the standard
    error that begins with "error: ". For what is wrong with the options or the data, `make_job`
    raises a `ValueError`; any error later on that is of the script's own making is left as it is.
    An option that does not parse ends the process, as `--help` does.
    """
    try:
        config = parse(cls, argv, prog=cls.PROG, description=description)
        again = config.resume is not None and not config.params_only
        if config.resume is not None:
            config = resumed_config(cls, config, argv)
        check_ignored(argv, config.idle, config.PROG)
        join(**config.processes_named, detect=config.distributed)
        mesh = mesh_for(config)
        job = make_job(config)
        if config.sweep:
            check_sweep(config, job)
        out = make_directory(config)
    except (ValueError, RuntimeError, MemoryError) as error:
        return fail(error)
    try:
        return execute(config, job, out, mesh=mesh, again=again)
    except Interrupted as stopped:
        if stopped.path is None:
            return fail(f"stopped after {stopped.step} steps, which could not be saved.", status=1)
        where = stopped.path.parents[1]
        say(f"Stopped after {stopped.step} steps. To go on: python {cls.PROG} --resume {where}")
        return 0
    except RunFailed as error:
        return fail(error, status=1)
    except (DataError, CheckpointError, MetricsError, ImportError, OSError, MemoryError) as error:
        return fail(error)


def execute(config: RunOptions, job: Job, out: Path, *, mesh: Mesh | None, again: bool) -> int:
    """What the options ask for, in the run's directory; `again` if the run there goes on."""
    job = on_mesh(job, mesh)
    if not again:
        job = begin(config, job, out)
    written = describe_run(config, job, out, again=again) if is_first() else []
    if config.find_lr:
        written += find_lr(config, job, out)
    elif config.sweep:
        written += run_sweep(config, job, out)
    else:
        written += train(config, job, out, again=again)
    say(f"Written to {out}: {', '.join(written)}.")
    return 0


def fail(error: Exception | str, status: int = 2) -> int:
    """Say what is wrong in one line; returns the exit status."""
    print(f"error: {error}", file=sys.stderr)
    return status
