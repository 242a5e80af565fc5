"""Metrics as event files for TensorBoard."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.files import Appending, as_path
from gradtx.kinds import checked
from gradtx.loop import Loop, Observer, Report, never
from gradtx.observers.event_file import beginning, ending, event, new_path
from gradtx.observers.histogram import edges_of
from gradtx.observers.step_logs import StepLogs, flat
from gradtx.observers.throttle import Throttle

PERIOD = 1.0


@checked
def tensorboard(
    log_dir: str | Path, *, config: Mapping[str, Any] | None = None, loop: Loop | None = None
) -> Observer:
    """Write the metrics of every step and epoch for `tensorboard --logdir LOG_DIR`.

    The scalars are `step/loss`, `step/learning_rate` and so on, `epoch/valid_loss` and so on; a
    hyperparameter with groups is `step/learning_rate/GROUP`, a number of an array `step/NAME/0`.
    Counts `health/histogram/...` are histograms; a matrix of an epoch, such as a confusion matrix,
    is left out. All are drawn over the number of steps done. Every fit writes a file of its own;
    one that begins at step n hides what an earlier one had written from there on. Values that are
    not finite are written as they are, in float32.

    The hyperparameters of the run are on the page HPARAMS, with the columns of the epoch table as
    its metrics, and whether the fit has ended well. `faults/KIND` is written at the end.

    Events are written about once a second and at the end of each epoch. While the file can't be
    written, as on a full disk, they are kept and tried again.

    Args:
        log_dir: the directory of the event files; it is made if need be.
        config: the hyperparameters of the run, by name; None for no such page.
        loop: whose faults and failure are told at the end.

    Raises:
        ImportError: if tensorboardX is not installed.
        OSError: when a fit begins, if the file can't be made; at its end, if there are still events
            that could not be written.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "gradtx.observers.tensorboard needs tensorboardX. Install it with"
            " `pip install gradtx[train]`."
        ) from error
    folder, logs, throttle = as_path(log_dir), StepLogs(), Throttle(PERIOD)
    file, running = Appending(Path()), False

    def before_fit(report: Report) -> None:
        nonlocal file, running
        logs.before_fit(report)
        file = Appending(new_path(folder))
        file.write(_opening(report.step + 1))
        if config is not None:
            shapes = report.state.metrics.shapes
            columns = [f"epoch/{name}" for name, shape in shapes.items() if not shape]
            file.write(beginning(config, columns))
        running = True

    def steps() -> list[bytes]:
        return [_values("step", log, log["step"] + 1) for log in logs.take()]

    def after_batch(report: Report) -> None:
        logs.after_batch(report)
        if throttle.due():
            file.try_to_write(steps())

    def after_epoch(report: Report) -> None:
        is_matrix = lambda x: isinstance(x, list) and any(isinstance(row, list) for row in x)
        row = {name: x for name, x in (report.row or {}).items() if not is_matrix(x)}
        epoch = _values("epoch", row, report.step)
        file.try_to_write([*steps(), epoch])

    def after_fit(report: Report) -> None:
        faults = {} if loop is None else loop.faults(report.state)
        end(well=loop is None or loop.failure(report.state) is None)
        file.write([_values("faults", faults, report.step)] if faults else [])

    def end(well: bool) -> None:
        nonlocal running
        running, was_running = False, running
        if config is not None and was_running:
            file.try_to_write([*steps(), *ending(well)])

    return Observer(
        {
            "before_fit": before_fit,
            "after_batch": after_batch,
            "after_epoch": after_epoch,
            "after_fit": after_fit,
        },
        flush=lambda: file.write(steps()),
        reads=never,
        name="tensorboard",
        raised=lambda error: end(well=False),
    )


def write_images(log_dir: str | Path, images: Mapping[str, np.ndarray], step: int) -> None:
    """Write images as an event file of their own.

    Args:
        log_dir: the directory of the event files; it is made if need be.
        images: uint8[h, w, 1 or 3] each, by what stands above it.
        step: the number of steps done.

    Raises:
        OSError: if it can't be written.
    """
    from tensorboardX.summary import image

    tag = lambda name: re.sub(r"[^\w./-]", "_", name, flags=re.ASCII)  # what a tag may have
    made = [image(tag(name), x, dataformats="HWC").value for name, x in images.items()]
    summary = {"value": list(chain(*made))}
    head = event(file_version="brain.Event:2")
    Appending(new_path(as_path(log_dir))).write([head, event(step=step, summary=summary)])


def _opening(first: int) -> list[bytes]:
    """The head of a file; of earlier ones TensorBoard then hides all from step `first` on."""
    start = {"status": "START"}
    return [event(file_version="brain.Event:2"), event(step=first, session_log=start)]


def _values(prefix: str, values: Mapping[str, Any], step: int) -> bytes:
    """An event with a scalar for each number, and with histograms."""
    own = {name: value for name, value in values.items() if name not in ("step", "epoch")}
    with _quiet():
        made = [[*_summary(tag, value)] for tag, value in flat(prefix, own, lists=False)]
    return event(step=step, summary={"value": list(chain(*made))})


def _summary(tag: str, value: Any) -> Iterator[Any]:
    from tensorboardX.summary import histogram_raw, scalar

    edges = edges_of(tag, value)
    if edges is None:
        for name, number in flat(tag, value):
            yield from scalar(name, number).value
        return
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    count, total, squares = (
        sum(n * x**k for n, x in zip(value, middles, strict=True)) for k in range(3)
    )
    low, high = edges[0], edges[-1]
    yield from histogram_raw(tag, low, high, count, total, squares, edges[1:], value).value


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that tensorboardX logs for each value that is not finite."""
    logger, drop = logging.getLogger("tensorboardX.x2num"), lambda record: False
    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)
