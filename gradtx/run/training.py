"""What a training leaves in its directory: configuration, metrics, events, checkpoints, report."""

import errno
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax

from gradtx.checkpoint import CheckpointError, entries, restore
from gradtx.core.runtime_hyperparams import names_with_role
from gradtx.data import ImageSpec
from gradtx.data.errors import DataError
from gradtx.files import as_path
from gradtx.loop import Loop, Observer, Report, TrainState
from gradtx.observers import checkpoint, jsonl, profile, progress, tell_faults, tensorboard
from gradtx.observers.loggers import LOGGERS
from gradtx.observers.peaks import peak_of
from gradtx.observers.throughput import Throughput
from gradtx.output import counted
from gradtx.parallel.mesh import place, shardings_of
from gradtx.parallel.processes import is_first, say
from gradtx.run.artifacts import finish
from gradtx.run.directory import write_config
from gradtx.run.errors import short
from gradtx.run.options import RunOptions
from gradtx.run.sources import BatchSource
from gradtx.run.surroundings import surroundings

FILES = (
    *("config.json", "data.json", "skipped.jsonl", "metrics.jsonl"),
    *("faults.json", "validation.npz", "report.html"),
)


def begin_new(options: RunOptions, loop: Loop, state: TrainState, out: Path) -> TrainState:
    """The state that a new run begins with: `state`, or with another run's parameters.

    Raises:
        CheckpointError: if the directory has the checkpoints of a run already; as `restore`.
    """
    if entries(out / "checkpoints"):
        raise CheckpointError(
            f"{options.PROG}: `--out` must not have the checkpoints of a run; got {out}. Go on"
            f" with that run by `--resume {out}`, or name another directory."
        )
    if options.resume is None:
        return state
    found = restore(as_path(options.resume) / "checkpoints", state, params_only=True)
    say(*(f"Warning: {line}." for line in found.damaged), f"Parameters from {found.path}.")
    begun = loop.init(**found.state, seed=options.seed)
    shardings = shardings_of(state)
    return begun if shardings is None else place(begun, shardings)


def describe_run(
    options: RunOptions, state: TrainState, source: BatchSource, out: Path, *, resuming: bool
) -> list[str]:
    """Write what the run is made of, before it begins; returns the files' names.

    Raises:
        IsADirectoryError: if there is a directory where a file of the run is to be.
    """
    for name in FILES:
        if (out / name).is_dir():  # found out now, not after the training
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(out / name))
    if not resuming:
        beside = {
            "data": source.fingerprint,
            "jax": jax.__version__,
            **surroundings(),
            # What the optimizer declares as its momentum, for the report's curves.
            "momentum_names": names_with_role(state.opt_state, "momentum"),
        }
        write_config(options, out / "config.json", **beside)
    if source.spec is None or source.skipped is None:
        return ["config.json"]
    _rebuild(out / "data.json", source.spec)
    source.skipped.save_to(out / "skipped.jsonl", resuming=resuming)
    return ["config.json", "data.json"]


def _rebuild(path: Path, spec: ImageSpec) -> None:
    """Write what a run's images are; what is there and damaged is said, since it is replaced."""
    try:
        if os.path.lexists(path):
            ImageSpec.read(path)
    except DataError as error:
        say(f"Warning: {error} It is written anew.")
    spec.write(path)


def observers_for(
    options: RunOptions,
    loop: Loop,
    steps: int,
    out: Path,
    missing: list[str],
    *,
    flops: Callable[[], float] | None = None,
    **saving: Any,
) -> list[Any]:
    """Progress, metrics, loggers and checkpoints; only the last are the business of all processes.

    `steps` is the number of batches of an epoch, `flops` tells the operations of a step, which
    takes a while: it is asked where the peak of the device is known, so that a share of it can be
    shown from the first step on. `saving` goes to `checkpoint`. What can't be written up to the end
    is noted in `missing`.
    """
    peak = peak_of(jax.devices()[0].device_kind)
    share = flops() / jax.device_count() if flops and peak else None
    speed = Throughput(options.rate[0], share)
    times: Any = {"beside": lambda: speed.figures}
    log = _noting(jsonl(out / "metrics.jsonl", **times), "metrics.jsonl", missing)
    told: Any = {"config": _hyperparameters(options), "loop": loop}
    events = _noting(tensorboard(out / "tensorboard", **told), "tensorboard", missing)
    names = [name for name in dict.fromkeys(options.log or ()) if name in LOGGERS]
    more = [LOGGERS[name](out, say=say, **told) for name in names] if is_first() else []
    best = ("accuracy", "max") if "accuracy" in loop.metrics else ("valid_loss", "min")
    saving |= {"every": options.save_every, "best": best}
    saves = checkpoint(
        out / "checkpoints", flush=[log, events, *more] if is_first() else [], **saving
    )
    if not is_first():
        return [saves]
    ideal = share / peak.flops if share and peak else None
    shown = [
        progress(steps_per_epoch=steps, rate=options.rate, ideal=ideal),
        speed.observer(say),
        tell_faults(loop, say=say),
    ]
    if options.profile is not None:
        shown.append(profile(out / "profile", options.profile, say=say))
    return [*shown, log, events, *more, saves]


def _hyperparameters(options: RunOptions) -> dict[str, Any]:
    """The options that a run has, as loggers take them."""
    plain = lambda x: x if isinstance(x, bool | int | float | str) else str(x)
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    values = {k: " ".join(x) if isinstance(x, tuple) else x for k, x in values.items()}
    return {name: plain(value) for name, value in values.items() if value is not None}


def _noting(observer: Observer, name: str, missing: list[str]) -> Observer:
    """`observer` whose last write may fail: the checkpoint comes after it, and counts for more."""

    def after_fit(report: Report) -> None:
        try:
            observer.on["after_fit"](report)
        except OSError as error:
            missing.append(f"{name} ({error.strerror})")

    return replace(observer, on={**observer.on, "after_fit": after_fit})


def unsaved(state: TrainState, out: Path) -> list[str]:
    """The last state of a fit, in words, if it is not the newest checkpoint on the disk."""
    saved, done = entries(out / "checkpoints"), int(state.step)
    if saved and saved[-1].step == done:
        return []
    newest = f"the newest checkpoint has {saved[-1].step:,}" if saved else "there is no checkpoint"
    return [f"the state after {counted(done, 'step')} ({newest})"]


def report(
    loop: Loop, state: TrainState, source: BatchSource, out: Path, missing: list[str]
) -> list[str]:
    """Write the predictions, the counts of faults and the report; returns the files' names."""
    try:
        return finish(out, loop, state, source.valid, spec=source.spec)
    except (OSError, ValueError) as error:  # the training is over, and counts
        missing.append(f"report.html ({short(str(error))})")
        return []
