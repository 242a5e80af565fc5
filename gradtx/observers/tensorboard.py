"""Metrics as event files for TensorBoard."""

import logging
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from gradtx.files import Appending, as_path
from gradtx.kinds import checked
from gradtx.loop import Observer, Report, never
from gradtx.observers.step_logs import StepLogs, flat
from gradtx.observers.throttle import Throttle

PERIOD = 1.0


@checked
def tensorboard(log_dir: str | Path) -> Observer:
    """Write the metrics of every step and epoch for `tensorboard --logdir LOG_DIR`.

    The scalars are `step/loss`, `step/learning_rate` and so on, `epoch/valid_loss` and so on; a
    hyperparameter with groups is `step/learning_rate/GROUP`, a number of an array `step/NAME/0`. A
    matrix of an epoch, such as a confusion matrix, is left out. All are drawn over the number of
    steps done. Every fit writes a file of its own; one that begins at step n hides what an earlier
    one had written from there on. Values that are not finite are written as they are, in float32.

    Events are written about once a second and at the end of each epoch. While the file can't be
    written, as on a full disk, they are kept and tried again.

    Args:
        log_dir: the directory of the event files; it is made if need be.

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
    file = Appending(Path())

    def before_fit(report: Report) -> None:
        nonlocal file
        logs.before_fit(report)
        file = Appending(_new_path(folder))
        file.write(_opening(report.step + 1))

    def steps() -> list[bytes]:
        return [_scalars("step", log, log["step"] + 1) for log in logs.take()]

    def after_batch(report: Report) -> None:
        logs.after_batch(report)
        if throttle.due():
            file.try_to_write(steps())

    def after_epoch(report: Report) -> None:
        is_matrix = lambda x: isinstance(x, list) and any(isinstance(row, list) for row in x)
        row = {name: x for name, x in (report.row or {}).items() if not is_matrix(x)}
        epoch = _scalars("epoch", row, report.step)
        file.try_to_write([*steps(), epoch])

    return Observer(
        {
            "before_fit": before_fit,
            "after_batch": after_batch,
            "after_epoch": after_epoch,
            "after_fit": lambda report: file.write(),
        },
        flush=lambda: file.write(steps()),
        reads=never,
        name="tensorboard",
    )


def _new_path(folder: Path) -> Path:
    """A file after all others: TensorBoard reads them in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in folder.glob("events.*"))  # for fits that begin in the same second
    seconds = f"{int(time.time()):010}"
    return folder / f"events.out.tfevents.{seconds}.{socket.gethostname()}.{number:04}"


def _opening(first: int) -> list[bytes]:
    """The head of a file; of earlier ones TensorBoard then hides all from step `first` on."""
    start = {"status": "START"}
    return [_event(file_version="brain.Event:2"), _event(step=first, session_log=start)]


def _scalars(prefix: str, values: Mapping[str, Any], step: int) -> bytes:
    from tensorboardX.summary import scalar

    numbers = {name: value for name, value in values.items() if name not in ("step", "epoch")}
    with _quiet():
        made = [scalar(tag, value).value for tag, value in flat(prefix, numbers)]
    return _event(step=step, summary={"value": list(chain(*made))})


def _event(**content: Any) -> bytes:
    """An event as a record of the file.

    length uint64, masked CRC of these bytes, the event, masked CRC of the event; little-endian
    """
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import masked_crc32c

    messages: Any = event_pb2  # which makes its classes when it is imported
    data = messages.Event(wall_time=time.time(), **content).SerializeToString()
    length = struct.pack("<Q", len(data))
    check = lambda part: struct.pack("<I", masked_crc32c(part))
    return length + check(length) + data + check(data)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that tensorboardX logs for each value that is not finite."""
    logger, drop = logging.getLogger("tensorboardX.x2num"), lambda record: False
    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)
