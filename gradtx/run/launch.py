"""From the command line to the exit status, for any training script."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gradtx.checkpoint import CheckpointError
from gradtx.config import check_ignored, parse
from gradtx.data.errors import DataError
from gradtx.observers import Interrupted, MetricsError
from gradtx.parallel.processes import join, say
from gradtx.run.devices import mesh_for
from gradtx.run.directory import resumed_config
from gradtx.run.errors import RunFailed, fail
from gradtx.run.options import RunOptions
from gradtx.run.runner import Runner

C = TypeVar("C", bound=RunOptions)

# What is the user's to mend, before the run has begun and after; other errors are the script's.
BAD_INPUT = (ValueError, RuntimeError, MemoryError)
BAD_RUN = (DataError, CheckpointError, MetricsError, ImportError, OSError, MemoryError)


def launch(
    cls: type[C],
    train: Callable[[C, Runner], Any],
    argv: Sequence[str],
    *,
    description: str = "",
) -> int:
    """Run a training script; returns the exit status.

    It reads the options, joins the processes of the job, and calls `train(options, run)`, which
    builds what is trained and calls one of `run.fit`, `run.find_lr` and `run.sweep`. What the run
    leaves is in `--out`: config.json, metrics.jsonl, event files, checkpoints, report.html. A
    signal to end (SIGTERM, Ctrl-C) saves first.

    Status 2 is for bad input, 1 for a run that failed; either with one line on the standard error
    that begins with "error: ". For what is wrong with the options or the data, `train` raises a
    `ValueError` before it calls the method of `run`; any error later on that is of the script's
    own making is left as it is. An option that does not parse ends the process, as `--help` does.

    Args:
        cls: the dataclass of the script's options.
        train: the script's own function, of the options and the `Runner`.
        argv: the words of the command line.
        description: what `--help` says of the script.
    """
    run = None
    try:
        options = parse(cls, argv, prog=cls.PROG, description=description)
        resuming = options.resume is not None and not options.params_only
        if options.resume is not None:
            options = resumed_config(cls, options, argv)
        check_ignored(argv, options.ignored, cls.PROG)
        join(**options.processes_named, detect=options.distributed)
        run = Runner(options, mesh=mesh_for(options), resuming=resuming)
        train(options, run)
    except Interrupted as stopped:
        return _stopped(cls, stopped)
    except RunFailed as error:
        return fail(error, status=1)
    except Exception as error:
        begun = run is not None and run.out is not None
        if isinstance(error, BAD_RUN if begun else BAD_INPUT):
            return fail(error)
        raise
    if run.out is not None:
        say(f"Written to {run.out}: {', '.join(run.written)}.")
    return 0


def _stopped(cls: type[RunOptions], stopped: Interrupted) -> int:
    """Say that a signal has ended the run, and how to go on; returns the exit status."""
    if stopped.path is None:
        return fail(f"stopped after {stopped.step} steps, which could not be saved.", status=1)
    run = stopped.path.parents[1]
    say(f"Stopped after {stopped.step} steps. To go on: python {cls.PROG} --resume {run}")
    return 0
