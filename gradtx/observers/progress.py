"""Progress for people: the epoch table, and a bar below it where there is a terminal."""

import atexit
import sys
from typing import Any, TextIO

from gradtx.loop import Observer, Report, never
from gradtx.observers.table import Lines, format_number
from gradtx.observers.throttle import Throttle
from gradtx.output import lossy

REFRESH = 0.25


def progress(
    steps_per_epoch: int | None = None, *, every: float = 10.0, file: TextIO | None = None
) -> Observer:
    """Show the epoch table as it grows, as `table` prints it, and how far the epoch is.

    On a terminal a progress bar stands below the table; elsewhere, as in a log file, a plain line
    comes now and then. It is drawn at most four times a second.

    Args:
        steps_per_epoch: the number of steps at which the bar is full; by default the length of the
            epoch before.
        every: the least number of seconds between two plain lines.
        file: where to write; by default the standard output.

    Raises:
        ImportError: on a terminal, if rich is not installed.
    """
    stream = lossy(file or sys.stdout)
    display = _Bar(stream) if stream.isatty() else _Plain(stream, every)
    lines = Lines()
    total = steps_per_epoch

    def before_fit(report: Report) -> None:
        display.open()
        for line in lines.begin(report.history):
            display.line(line)

    def before_epoch(report: Report) -> None:
        display.begin(report.epoch, report.batch, total)

    def after_batch(report: Report) -> None:
        if display.throttle.due():
            display.advance(report.batch, float((report.log or {})["train_loss"]))

    def after_epoch(report: Report) -> None:
        nonlocal total
        total = steps_per_epoch or report.batch
        for line in lines.of(report.row or {}):
            display.line(line)

    def after_fit(report: Report) -> None:
        for line in lines.end():
            display.line(line)
        display.close()

    return Observer(
        {
            "before_fit": before_fit,
            "before_epoch": before_epoch,
            "after_batch": after_batch,
            "before_validate": lambda report: display.validate(report.batch),
            "after_epoch": after_epoch,
            "after_fit": after_fit,
        },
        reads=never,
    )


class _Plain:
    """Lines, for a file."""

    def __init__(self, stream: TextIO, every: float) -> None:
        self.stream, self.throttle = stream, Throttle(every)

    def open(self) -> None:
        pass

    def begin(self, epoch: int, batch: int, total: int | None) -> None:
        self.epoch, self.total = epoch, total
        self.throttle.restart()

    def advance(self, batch: int, loss: float) -> None:
        steps = f"{batch}/{self.total}" if self.total else f"{batch}"
        self.line(f"epoch {self.epoch}, step {steps}: train_loss {format_number(loss)}")

    def validate(self, batch: int) -> None:
        pass

    def line(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        pass


class _Bar:
    """A progress bar, for a terminal; lines are printed above it."""

    def __init__(self, stream: TextIO) -> None:
        try:
            from rich import progress as parts
            from rich.console import Console
        except ImportError as error:
            raise ImportError(
                "gradtx.observers.progress needs rich to draw a bar. Install it with"
                " `pip install gradtx[train]`, or use gradtx.observers.table."
            ) from error
        self.throttle = Throttle(REFRESH)
        self.bar: Any = parts.Progress(
            parts.TextColumn("{task.description}"),
            parts.BarColumn(),
            parts.MofNCompleteColumn(),
            parts.TextColumn("train_loss {task.fields[loss]}"),
            parts.TimeElapsedColumn(),
            parts.TimeRemainingColumn(),
            console=Console(file=stream),
            refresh_per_second=1 / REFRESH,
            transient=True,
        )
        self.task: Any = self.bar.add_task("", start=False, visible=False, total=None, loss="-")

    def open(self) -> None:
        self.bar.start()
        atexit.register(self.bar.stop)  # a fit that fails must not leave the cursor hidden

    def begin(self, epoch: int, batch: int, total: int | None) -> None:
        self.epoch = epoch
        name = f"epoch {epoch}"
        # `reset` takes no total of None, which stands for a length that is not known yet.
        self.bar.reset(self.task, completed=batch, description=name, visible=True)
        if total is not None:
            self.bar.update(self.task, total=total)

    def advance(self, batch: int, loss: float) -> None:
        self.bar.update(self.task, completed=batch, loss=format_number(loss))

    def validate(self, batch: int) -> None:
        name = f"epoch {self.epoch}, validation"
        self.bar.update(self.task, completed=batch, description=name)

    def line(self, text: str) -> None:
        self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self.bar.stop()
        atexit.unregister(self.bar.stop)
