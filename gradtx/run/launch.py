"""From the command line to the exit status, for any training script."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gradtx.checkpoint import CheckpointError, entries
from gradtx.config import check_ignored, invocation, parse
from gradtx.data.errors import DataError
from gradtx.observers import Interrupted, MetricsError
from gradtx.observers.table import FOOT
from gradtx.output import counted, lossy_output
from gradtx.parallel.call import JoinError
from gradtx.parallel.processes import is_lost, join, say
from gradtx.run.batch_size import with_largest_batch
from gradtx.run.compiled import keep_compiled
from gradtx.run.deterministic import be_deterministic
from gradtx.run.devices import mesh_for
from gradtx.run.directory import resumed_config, with_file
from gradtx.run.errors import BAD_INPUT, FAILED, NOT_SAVED, RunFailed, fail, out_of_memory
from gradtx.run.interrupt import INTERRUPTED, LAST_WORD
from gradtx.run.options import AUTO, RunOptions
from gradtx.run.runner import Runner, Summarized

C = TypeVar("C", bound=RunOptions)

# What is the user's to mend, before the run has begun and after; other errors are the script's.
BEFORE = (ValueError, RuntimeError, OSError)
AFTER = (DataError, CheckpointError, MetricsError, ImportError, OSError)


@lossy_output()
def launch(
    cls: type[C],
    train: Callable[[C, Runner], Any],
    argv: Sequence[str],
    *,
    description: str = "",
) -> int:
    """Run a training script; returns the exit status.

    It reads the options, joins the processes of the job, and calls `train(options, run)`, which
    builds what is trained and calls one of `run.fit`, `run.find_lr`, `run.sweep` and `run.search`.
    What the run leaves is in `--out`: config.json, metrics.jsonl, event files, checkpoints,
    report.html. A signal to end (SIGTERM, Ctrl-C) saves first.

    Every status but 0 comes with one line on the standard error that begins with "error: ":

        0     the run has ended, or a signal has stopped it, and all is on the disk; or its
              `--summary` has been printed
        1     it failed: a loss that is not finite, no memory, another process that is gone
        2     bad input: the options, the data, a directory that another run writes to
        3     it was trained to the end or stopped, but its last state, or a file of it, is not on
              the disk
        130   Ctrl-C where there was nothing to save

    A standard output that nobody reads, that is closed or on a full disk ends nothing. For what is
    wrong with the options or the data, `train` raises a `ValueError` before it calls the method of
    `run`; any error later on that is of the script's own making is left as it is. An option that
    does not parse ends the process, as `--help` does.

    Args:
        cls: the dataclass of the script's options.
        train: the script's own function, of the options and the `Runner`.
        argv: the words of the command line.
        description: what `--help` says of the script.
    """
    keep_compiled()
    run = None
    try:
        about = f"{description.rstrip()}\n\n{FOOT}".lstrip()
        options = parse(cls, argv, prog=cls.PROG, description=about)
        if options.config is not None:
            options = with_file(cls, options.config, argv)
        resuming = options.resume is not None and not options.params_only
        if options.resume is not None:
            options = resumed_config(cls, options, argv)
        check_ignored(argv, options.ignored, cls.PROG)
        if options.deterministic:
            be_deterministic()  # before anything uses a device
        join(
            **options.processes_named,
            detect=options.distributed,
            options=options.shared,
            start_timeout=options.join_timeout,
        )
        if options.batch_size == AUTO:
            options = with_largest_batch(options, train)
        run = Runner(options, mesh=mesh_for(options), resuming=resuming)
        train(options, run)
        return _ended(run)
    except Summarized:
        return 0
    except Interrupted as stopped:
        return _stopped(cls, stopped)
    except KeyboardInterrupt:
        return fail(LAST_WORD, INTERRUPTED)
    except (RunFailed, JoinError) as error:
        return fail(error, FAILED)
    except Exception as error:
        if is_lost(error):
            raise  # `ending_together` says so
        begun = run is not None and run.out is not None
        if out_of_memory(error):
            return fail(error, FAILED)
        if isinstance(error, AFTER if begun else BEFORE):
            return fail(error, BAD_INPUT)
        raise
    finally:
        if run is not None:
            run.close()


def _ended(run: Runner) -> int:
    """Say what a run has left, and what it could not; returns the exit status."""
    if run.out is not None:
        say(f"The same run again: {run.options.command()}")
        say(f"Written to {run.out}: {', '.join(run.written)}.")
    if not run.missing:
        return 0
    lacks = "; ".join(run.missing)
    again = f"and go on: {invocation(run.options.PROG)} --resume {shlex.quote(str(run.out))}"
    if run.out is not None and not entries(run.out / "checkpoints"):
        again = "and begin anew."
    return fail(
        f"{run.out} must have all of the run; it lacks {lacks}. Put right what was said of that,"
        f" {again}",
        NOT_SAVED,
    )


def _stopped(cls: type[RunOptions], stopped: Interrupted) -> int:
    """Say that a signal has ended the run, and how to go on; returns the exit status."""
    done = counted(stopped.step, "step")
    if stopped.path is None:
        return fail(f"stopped after {done}, which could not be saved.", NOT_SAVED)
    run = stopped.path.parents[1]
    say(f"Stopped after {done}. To go on: {invocation(cls.PROG)} --resume {shlex.quote(str(run))}")
    return 0
