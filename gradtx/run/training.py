"""A training with all that it leaves in its directory: metrics, events, checkpoints, the report."""

from pathlib import Path
from typing import Any

import jax

from gradtx.checkpoint import CheckpointError, entries, restore, resume
from gradtx.config import write_config
from gradtx.loop import TrainState
from gradtx.observers import checkpoint, jsonl, progress, stop_on_signals, tensorboard
from gradtx.parallel.mesh import place, shardings_of
from gradtx.parallel.processes import is_first, say
from gradtx.run.directory import config_key
from gradtx.run.job import Job
from gradtx.run.options import RunOptions


def begin(config: RunOptions, job: Job, out: Path) -> Job:
    """A new run: it must not write over another, and may begin with another's parameters."""
    if entries(out / "checkpoints"):
        raise CheckpointError(
            f"{config.PROG}: `--out` must not have the checkpoints of a run; got {out}. Go on"
            f" with that run by `--resume {out}`, or name another directory."
        )
    if config.resume is None:
        return job
    found = restore(config.resume / "checkpoints", job.state, params_only=True)
    say(*(f"Warning: {line}." for line in found.damaged), f"Parameters from {found.path}.")
    state = job.loop.init(**found.state, seed=config.seed)
    shardings = shardings_of(job.state)
    return job._replace(state=state if shardings is None else place(state, shardings))


def describe_run(config: RunOptions, job: Job, out: Path, *, again: bool) -> list[str]:
    """Write what the run is made of, before it begins; returns the files' names."""
    if not again:
        write_config(config, out / "config.json", data=job.source.fingerprint, jax=jax.__version__)
    if job.source.facts is None or job.source.skipped is None:
        return ["config.json"]
    job.source.facts.write(out / "data.json")
    job.source.skipped.save_to(out / "skipped.jsonl", resuming=again)
    return ["config.json", "data.json"]


def train(config: RunOptions, job: Job, out: Path, *, again: bool) -> list[str]:
    """Fit, show the epoch table and the remark; returns the names of what was written to `out`.

    With `again` the run in that directory goes on.

    Raises:
        RunFailed: if the losses did not stay finite; all is written, too.
    """
    facts = {"config": config_key(config), "data": job.source.fingerprint}
    options: dict[str, Any] = {"epochs": config.epochs, "donate": True}
    if again:
        options["resume"] = resume(out / "checkpoints", must_match=facts, say=say)
    source = job.source
    with stop_on_signals() as stop:
        options["observers"] = observers_for(config, job, out, must_match=facts, stop=stop)
        state, history = job.fit(job.loop, job.state, source.train, source.valid, **options)
    reported = report(job, state, out) if is_first() else []
    if problem := job.loop.failure(state):
        raise RunFailed(f"{problem}; lower the learning rate. See {out}.")
    say(job.remark(history.rows[-1]))
    metrics = "metrics.jsonl (every step and epoch)"
    return [metrics, "tensorboard", *reported, "checkpoints (newest and best)"]


class RunFailed(Exception):
    """A run came to its end without a result."""


def observers_for(config: RunOptions, job: Job, out: Path, **saving: Any) -> list[Any]:
    """Progress, metrics and checkpoints; only the last is the business of all processes."""
    log, events = jsonl(out / "metrics.jsonl"), tensorboard(out / "tensorboard")
    best = ("accuracy", "max") if "accuracy" in job.loop.metrics else ("valid_loss", "min")
    saving |= {"every": config.save_every, "best": best}
    saves = checkpoint(out / "checkpoints", flush=[log, events] if is_first() else [], **saving)
    shown = progress(steps_per_epoch=job.source.steps)
    return [shown, log, events, saves] if is_first() else [saves]


def report(job: Job, state: TrainState, out: Path) -> list[str]:
    """Write the predictions, the counts of faults and the report; returns the files' names."""
    try:
        from gradtx.run.artifacts import finish  # matplotlib is an extra
    except ImportError as error:
        say(f"No report.html: {error}")
        return []
    return finish(out, job.loop, state, job.source.valid, facts=job.source.facts)
