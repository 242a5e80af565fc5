"""Metrics as JSON Lines: one object for each step and each epoch."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.files import Appending, write_atomically
from gradtx.loop import History, Level, Observer, Report, TrainState
from gradtx.observers.step_logs import StepLogs, map_values
from gradtx.observers.throttle import Throttle

PERIOD = 1.0
OPENING = '{"kind": '


class MetricsError(ValueError):
    """A file of metrics has a line that is not of the form that `jsonl` writes."""


def jsonl(path: str | Path) -> Observer:
    """Write the metrics of every step and epoch to `path`, one JSON object a line.

        {"kind": "step", "step": 0, "epoch": 0, "loss": 0.69, "learning_rate": 0.001, ...}
        {"kind": "epoch", "step": 100, "epoch": 0, "train_loss": 0.52, ...}

    Steps are numbered from 0 over all fits, as schedules count them; in the line of an epoch,
    `step` is the number of steps done. NaN and infinity are null, since JSON has neither. Lines
    are written when the first step has ended, about once a second from then on, and at the end of
    each epoch, and never wait for the device. What an epoch took is not among the metrics, so that
    two runs can be compared byte by byte; it is in a file of its own beside them,
    `metrics.times.jsonl` for `metrics.jsonl`:

        {"kind": "epoch", "step": 100, "epoch": 0, "time": 12.3}

    When a fit begins at step n, lines of the file from step n on are dropped: a new run starts
    the file anew, and a resumed one continues it without a gap or a repetition.

    While a file can't be written, as on a full disk, its lines are kept and tried again.

    Args:
        path: the file of metrics; its directory is made if need be.

    Raises:
        OSError: at the end of the fit, if there are still lines that could not be written.
        MetricsError: when a fit begins, if the file has a line that is not of this form.
    """
    metrics = Appending(Path(path))
    times = Appending(metrics.path.with_suffix(".times.jsonl"))
    logs, throttle = StepLogs(), Throttle(PERIOD)

    def before_fit(report: Report) -> None:
        metrics.path.parent.mkdir(parents=True, exist_ok=True)
        logs.before_fit(report)
        for file in (metrics, times):
            file.waiting = []
            _rewind(file.path, report.state)

    def after_batch(report: Report) -> None:
        logs.after_batch(report)
        if logs.settled and throttle.due():
            metrics.try_to_write(_steps(logs.take(last=False)))

    def after_epoch(report: Report) -> None:
        row = {"kind": "epoch", "step": int(report.state.step), **(report.row or {})}
        time = {name: row[name] for name in ("kind", "step", "epoch", "time")}
        epoch = {name: value for name, value in row.items() if name != "time"}
        metrics.try_to_write([*_steps(logs.take()), _line(epoch)])
        times.try_to_write([_line(time)])

    def after_fit(report: Report) -> None:
        metrics.write()
        times.write()

    return Observer(
        {
            "before_fit": before_fit,
            "before_epoch": logs.before_epoch,
            "after_batch": after_batch,
            "after_epoch": after_epoch,
            "after_fit": after_fit,
        },
        flush=lambda: metrics.write(_steps(logs.take())),
    )


def read_jsonl(path: str | Path) -> History:
    """The history that `jsonl` has written, with the numbers of steps and epochs; null is NaN.

    `steps` of the result holds an array [n] for each name, or for a hyperparameter with groups a
    dict of such arrays; `rows` a dict for each epoch.

    Args:
        path: the file of metrics; the last line may be cut short, as a killed process leaves it.

    Raises:
        FileNotFoundError: if there is no such file.
        UnicodeDecodeError: if it is no text.
        MetricsError: if a line is not of the form that `jsonl` writes.
    """
    number = lambda x: math.nan if x is None else x
    records = [map_values(number, record) for record in _read(Path(path))]
    without = lambda record, *names: {k: v for k, v in record.items() if k not in names}
    rows = [without(r, "kind") for r in records if r["kind"] == "epoch"]
    steps = [without(r, "kind") for r in records if r["kind"] == "step"]
    names = dict.fromkeys(name for step in steps for name in step)
    # A later fit may log other hyperparameters.
    column = lambda name: [step.get(name, math.nan) for step in steps]
    return History(rows, {name: _stack(column(name)) for name in names})


def _stack(values: list[Any]) -> Any:
    groups = next((value for value in values if isinstance(value, dict)), None)
    if groups is None:
        return np.asarray(values)
    part = lambda value, name: value.get(name, math.nan) if isinstance(value, dict) else value
    return {name: _stack([part(value, name) for value in values]) for name in groups}


def _steps(records: Iterable[dict[str, Any]]) -> list[bytes]:
    return [_line({"kind": "step"} | record) for record in records]


def _line(record: dict[str, Any]) -> bytes:
    finite = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x
    return json.dumps(map_values(finite, record), allow_nan=False).encode() + b"\n"


def _rewind(path: Path, state: TrainState) -> None:
    """Drop what a fit that goes on from `state` will write (again)."""
    if not path.exists():
        return
    step, inside = int(state.step), int(state.level) > Level.FIT

    def past(record: dict[str, Any]) -> bool:
        # The epoch's line comes after its last step: inside an epoch it is still to be written.
        ended = record["kind"] == "epoch" and not inside
        return record["step"] < step or (ended and record["step"] == step)

    # A byte that is no text becomes an escape, which is no JSON: the line is refused, and shown.
    kept = [_line(record) for record in _read(path, "backslashreplace") if past(record)]
    write_atomically(path, b"".join(kept))


def _read(path: Path, errors: str = "strict") -> list[dict[str, Any]]:
    lines = path.read_text("utf-8", errors).split("\n")
    # A process that is killed leaves part of a line.
    if OPENING.startswith(lines[-1][: len(OPENING)]):
        lines.pop()
    return [_parse(path, number, line) for number, line in enumerate(lines, 1)]


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    record = record if isinstance(record, dict) else {}
    if record.get("kind") not in ("step", "epoch") or not isinstance(record.get("step"), int):
        raise MetricsError(
            f"jsonl: {path} must have the lines that `jsonl` writes; got {line.strip()[:60]!r} in"
            f" line {number}. Put that line right, or write to another path."
        )
    return record
