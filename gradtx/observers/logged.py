"""The observer that feeds a logger."""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from gradtx.files import as_path
from gradtx.loop import Loop, Observer, Report, never
from gradtx.observers.checkpoint import Interrupted
from gradtx.observers.courier import Courier
from gradtx.observers.logger import End, Logger, Opening, Record
from gradtx.observers.step_logs import StepLogs, flat
from gradtx.observers.throttle import Throttle
from gradtx.sealed import Damaged, read_json

PERIOD = 1.0
NOTES = "loggers"  # the folder of what must be known of each logger's run to go on with it


def package(name: str) -> Any:
    """The client's package.

    Raises:
        ImportError: if it can't be imported, with what to install.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # an installation that is broken raises anything
        raise ImportError(
            f"gradtx.observers.{name} needs {name}; got {type(error).__name__}: {error}. Install it"
            " with `pip install gradtx[loggers]`."
        ) from error


def observed(
    logger: Logger,
    name: str,
    directory: str | Path,
    *,
    config: Mapping[str, Any],
    loop: Loop | None,
    say: Callable[[str], None],
) -> Observer:
    """The observer that hands a logger what there is to log.

    A fit that goes on, or a second one of the same state, goes on with the logger's run: its id is
    in DIRECTORY/loggers/NAME.json, with the last step that was logged, so that no step comes twice.
    A fit that begins anew begins a run of its own.

    Args:
        logger: which.
        name: of the logger.
        directory: of the run.
        config: the hyperparameters of the run.
        loop: whose faults and failure are told at the end.
        say: is given lines about what fails.
    """
    directory, logs, throttle = as_path(directory), StepLogs(), Throttle(PERIOD)
    courier: Courier | None = None
    done = 0

    def before_fit(report: Report) -> None:
        nonlocal courier, done
        done = report.step
        path = directory / NOTES / f"{name}.json"
        opening = Opening(directory, config, report.step, _note(path, report))
        courier = None if jax.process_index() else Courier(logger, name, opening, path, say)
        logs.before_fit(report)
        if courier:
            courier.begin()

    def after_batch(report: Report) -> None:
        nonlocal done
        done = report.step
        if courier:
            logs.after_batch(report)
            if throttle.due():
                courier.take(_steps(logs))

    def after_epoch(report: Report) -> None:
        if courier:
            row = dict(report.row or {})
            epoch = int(row.get("epoch", report.epoch))
            courier.take([*_steps(logs), _record("epoch", report.step, epoch, row)])

    def flush() -> None:
        if courier:
            courier.take(_steps(logs))
            courier.wait()

    def after_fit(report: Report) -> None:
        if courier:
            reason = loop.failure(report.state) if loop else None
            faults = loop.faults(report.state) if loop else {}
            status = "failed" if reason else "finished"
            end(End(status, report.step, reason or "", faults))

    def raised(error: BaseException) -> None:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        said = str(error).partition("\n")[0]
        reason = said if isinstance(error, Interrupted) else f"{type(error).__name__}: {said}"
        end(End("interrupted" if stopped else "failed", done, reason))

    def end(how: End) -> None:
        nonlocal courier
        if courier:
            ended, courier = courier, None
            ended.take(_steps(logs))
            ended.end(how)

    return Observer(
        {
            "before_fit": before_fit,
            "after_batch": after_batch,
            "after_epoch": after_epoch,
            "after_fit": after_fit,
        },
        flush=flush,
        raised=raised,
        reads=never,
        name=name,
    )


def _note(path: Path, report: Report) -> dict[str, Any] | None:
    """What is known of the logger's run, if the fit goes on with it."""
    with suppress(Damaged):
        note = read_json(path)
        goes_on = bool(report.batch or report.epoch or (report.history and report.history.rows))
        if goes_on or 0 < report.step >= int(note.get("step", 0)):
            return note
    return None


def _steps(logs: StepLogs) -> list[Record]:
    return [_record("step", log["step"] + 1, log["epoch"], log) for log in logs.take()]


def _record(kind: Any, step: int, epoch: int, values: Mapping[str, Any]) -> Record:
    own = {name: value for name, value in values.items() if name not in ("step", "epoch")}
    return Record(kind, step, epoch, dict(flat(kind, own, lists=False)))
