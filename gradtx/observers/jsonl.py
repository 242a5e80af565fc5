"""Metrics as JSON Lines: one object for each step and each epoch."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.files import as_path
from gradtx.kinds import checked
from gradtx.loop import History, Observer, Report, never
from gradtx.observers.metrics_file import MetricsError, MetricsFile, each, intact
from gradtx.observers.step_logs import StepLogs, map_values
from gradtx.observers.throttle import Throttle
from gradtx.output import say_on_stderr

PERIOD = 1.0


@checked
def jsonl(
    path: str | Path,
    *,
    beside: Callable[[], Mapping[str, float]] = dict,
    say: Callable[[str], None] = say_on_stderr,
) -> Observer:
    """Write the metrics of every step and epoch to `path`, one JSON object a line.

        {"kind": "step", "step": 0, "epoch": 0, "loss": 0.69, ..., "digest": "9f..."}
        {"kind": "epoch", "step": 100, "epoch": 0, "train_loss": 0.52, ..., "digest": "03..."}

    Steps are numbered from 0 over all fits, as schedules count them; in the line of an epoch,
    `step` is the number of steps done. NaN and infinity are null, since JSON has neither; an array
    is a nested list. Lines are written when the first step has ended, about once a second from then
    on, and at the end of each epoch, and never wait for the device. What an epoch took is not among
    the metrics, so that two runs can be compared byte by byte; it is in a file of its own beside
    them, `metrics.times.jsonl` for `metrics.jsonl`:

        {"kind": "epoch", "step": 100, "epoch": 0, "time": 12.3, "digest": "51..."}

    Each line's digest is of the line and all before it, so that a line that was altered, lost or
    moved is found; lines without digests are taken as they are.

    When a fit begins at step n, lines of the file from step n on are dropped: a new run starts
    the file anew, and a resumed one continues it without a gap or a repetition. Damaged metrics
    are an error then, and missing ones are said; damaged times are said, kept in
    `metrics.times.jsonl.damaged`, and left out.

    While a file can't be written, as on a full disk, its lines are kept and tried again.

    Args:
        path: the file of metrics; its directory is made if need be.
        beside: asked at the end of each epoch for more numbers of its line of times, by name.
        say: is given a line about what is missing or left out; by default it goes to the standard
            error.

    Raises:
        OSError: at the end of the fit, if there are still lines that could not be written.
        MetricsError: when a fit begins, if the file has a line that is not of this form, or is
            not as it was written.
    """
    metrics = MetricsFile(as_path(path))
    times = MetricsFile(metrics.path.with_suffix(".times.jsonl"))
    logs, throttle = StepLogs(), Throttle(PERIOD)

    def before_fit(report: Report) -> None:
        metrics.path.parent.mkdir(parents=True, exist_ok=True)
        logs.before_fit(report)
        metrics.rewind(report.state)
        if gap := metrics.gap(report.state):
            say(f"Warning: {gap}.")
            metrics.path.touch()  # so that a run with nothing left to do has all its files
        try:
            times.rewind(report.state)
        except MetricsError as error:
            aside = times.path.with_name(times.path.name + ".damaged")
            times.path.replace(aside)
            times.rewind(report.state, intact(aside))
            say(f"Warning: {error.args[0].split('. ')[0]}; it is kept as {aside.name}.")

    def after_batch(report: Report) -> None:
        logs.after_batch(report)
        if throttle.due():
            metrics.try_to_add(_steps(logs.take()))

    def after_epoch(report: Report) -> None:
        row = {"kind": "epoch", "step": report.step, **(report.row or {})}
        time = {name: row[name] for name in ("kind", "step", "epoch", "time")} | dict(beside())
        epoch = {name: value for name, value in row.items() if name != "time"}
        metrics.try_to_add([*_steps(logs.take()), epoch])
        times.try_to_add([time])

    def after_fit(report: Report) -> None:
        metrics.add()
        times.add()

    return Observer(
        {
            "before_fit": before_fit,
            "after_batch": after_batch,
            "after_epoch": after_epoch,
            "after_fit": after_fit,
        },
        flush=lambda: metrics.add(_steps(logs.take())),
        reads=never,
        name="jsonl",
    )


@checked
def read_jsonl(path: str | Path) -> History:
    """The history that `jsonl` has written, with the numbers of steps and epochs; null is NaN.

    `steps` of the result holds an array [n, ...] for each name, or for a hyperparameter with groups
    a dict of such arrays, NaN at steps that have no such entry; `rows` a dict for each epoch.
    Arrays that only some steps have are in `samples`.

    Args:
        path: the file of metrics; the last line may be cut short, as a killed process leaves it.

    Raises:
        FileNotFoundError: if there is no such file.
        MetricsError: if it is not of the form that `jsonl` writes, or not as it was written.
    """
    number = lambda x: math.nan if x is None else x
    path = as_path(path)
    path.stat()
    records = [map_values(number, record) for record in each(path)]
    without = lambda record, *names: {k: v for k, v in record.items() if k not in names}
    rows = [without(r, "kind") for r in records if r["kind"] == "epoch"]
    steps = [without(r, "kind") for r in records if r["kind"] == "step"]
    names = dict.fromkeys(name for step in steps for name in step)
    # A later fit may log other hyperparameters.
    column = lambda name: [step.get(name, math.nan) for step in steps]
    samples = {name: found for name in names if (found := _sampled(name, steps))}
    return History(rows, {n: _stack(column(n)) for n in names if n not in samples}, samples)


def _sampled(name: str, steps: list[dict[str, Any]]) -> dict[int, np.ndarray]:
    """The arrays of this name by step, if they are arrays and some steps have none."""
    found = {step["step"]: step[name] for step in steps if name in step}
    if len(found) == len(steps) or not all(isinstance(x, list) for x in found.values()):
        return {}
    return {step: np.asarray(x) for step, x in found.items()}


def _stack(values: list[Any]) -> Any:
    """One array of the values of all steps; NaN where a step has none."""
    names = dict.fromkeys(name for value in values if isinstance(value, dict) for name in value)
    if names:
        part = lambda value, name: value.get(name, math.nan) if isinstance(value, dict) else value
        return {name: _stack([part(value, name) for value in values]) for name in names}
    arrays = [np.asarray(value) for value in values]
    shapes = {array.shape for array in arrays if array.ndim}
    if not shapes:
        return np.asarray(values)
    if len(shapes) > 1:  # of fits with hooks of other sizes
        return np.array([*arrays, None], dtype=object)[:-1]
    (shape,) = shapes
    return np.stack([array if array.ndim else np.full(shape, math.nan) for array in arrays])


def _steps(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"kind": "step"} | record for record in records]
