"""Progress for people: the epoch table, and a bar below it where there is a terminal."""

import atexit
import math
import sys
import time
from typing import Any, TextIO

from gradtx.loop import Observer, Report, never
from gradtx.observers.table import Lines, format_number
from gradtx.observers.throttle import Throttle
from gradtx.output import lossy

REFRESH = 0.25
MFU = "mfu"


def progress(
    steps_per_epoch: int | None = None,
    *,
    rate: tuple[float, str] | None = None,
    ideal: float | None = None,
    every: float = 10.0,
    file: TextIO | None = None,
) -> Observer:
    """Show the epoch table as it grows, as `table` prints it, and how far the epoch is.

    On a terminal a progress bar stands below the table, drawn at most four times a second; it says
    "compiling" until the first step has ended. Elsewhere, as in a log file, a plain line comes now
    and then.

    Args:
        steps_per_epoch: the number of steps at which the bar is full; by default the length of the
            epoch before.
        rate: what a step gets through, and what to call it a second: (128, "images/s") adds that
            column to the table, of the training alone, without its validation and without the first
            steps of the fit, in which it is compiled, and that to the bar.
        ideal: the seconds that a step would take at the device's peak: adds the column `mfu`, the
            share of that peak that the model's own operations reach (model FLOP utilisation).
        every: the least number of seconds between two plain lines.
        file: where to write; by default the standard output.

    Raises:
        ImportError: on a terminal, if rich is not installed.
    """
    stream = lossy(file or sys.stdout)
    display = _Bar(stream) if stream.isatty() else _Plain(stream, every)
    total = steps_per_epoch
    rates = [Rate(*rate)] if rate else []
    rates += [Rate(ideal, MFU)] if ideal else []
    lines = Lines(tuple(each.name for each in rates))
    compiles = True  # until the first steps of this fit are told of

    def before_fit(report: Report) -> None:
        nonlocal compiles
        compiles = True
        display.open()
        for line in lines.begin(report.history):
            display.line(line)

    def before_epoch(report: Report) -> None:
        display.begin(report.epoch, report.batch, total, compiles=compiles)
        for each in rates:
            each.begin(report.batch)

    def after_batch(report: Report) -> None:
        nonlocal compiles
        if compiles and not report.left:  # how long it took to compile is no rate of the training
            compiles = False
            for each in rates:
                each.begin(report.batch)
        if display.throttle.due():
            shown = ", ".join(filter(None, (each.shown(report.batch) for each in rates)))
            display.advance(report.batch, float((report.log or {})["train_loss"]), shown)

    def before_validate(report: Report) -> None:
        for each in rates:
            each.end(report.batch)
        display.validate(report.batch)

    def after_epoch(report: Report) -> None:
        nonlocal total
        total = steps_per_epoch or report.batch
        row = dict(report.row or {})
        for each in rates:
            row[each.name] = each.end(report.batch)
        for line in lines.of(row):
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
            "before_validate": before_validate,
            "after_epoch": after_epoch,
            "after_fit": after_fit,
        },
        reads=never,
        name="progress",
        raised=lambda error: display.close(),
    )


class Rate:
    """How fast the training of an epoch is."""

    def __init__(self, each: float, name: str) -> None:
        """`each` is what a step gets through, `name` what that is called a second."""
        self.each, self.name = each, name
        self.began, self.first, self.ended = 0.0, 0, None

    def begin(self, batch: int) -> None:
        """The epoch goes on at this batch."""
        self.began, self.first, self.ended = time.perf_counter(), batch, None

    def so_far(self, batch: int) -> float:
        """What there was a second until now; NaN before there was a step."""
        if batch == self.first:
            return math.nan
        return self.each * (batch - self.first) / max(time.perf_counter() - self.began, 1e-9)

    def shown(self, batch: int) -> str:
        """The same, for people."""
        value = self.so_far(batch)
        if math.isnan(value):
            return ""
        return f"{value:.0%} {self.name}" if self.name == MFU else f"{value:,.0f} {self.name}"

    def end(self, batch: int) -> float:
        """The same of the whole training phase, which has ended now if it had not before."""
        if self.ended is None:
            self.ended = self.so_far(batch)
        return self.ended


class _Plain:
    """Lines, for a file."""

    def __init__(self, stream: TextIO, every: float) -> None:
        self.stream, self.throttle = stream, Throttle(every)

    def open(self) -> None:
        pass

    def begin(self, epoch: int, batch: int, total: int | None, *, compiles: bool = False) -> None:
        self.epoch, self.total = epoch, total
        self.throttle.restart()

    def advance(self, batch: int, loss: float, pace: str) -> None:
        steps = f"{batch}/{self.total}" if self.total else f"{batch}"
        more = f", {pace}" if pace else ""
        self.line(f"epoch {self.epoch}, step {steps}: train_loss {format_number(loss)}{more}")

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
            parts.TextColumn("{task.fields[pace]}"),
            parts.TimeElapsedColumn(),
            parts.TimeRemainingColumn(),
            console=Console(file=stream),
            refresh_per_second=1 / REFRESH,
            transient=True,
        )
        self.task: Any = self.bar.add_task(
            "", start=False, visible=False, total=None, loss="-", pace=""
        )

    def open(self) -> None:
        self.bar.start()
        atexit.register(self.bar.stop)  # a fit that fails must not leave the cursor hidden

    def begin(self, epoch: int, batch: int, total: int | None, *, compiles: bool = False) -> None:
        self.epoch = epoch
        name = f"epoch {epoch}, compiling" if compiles else f"epoch {epoch}"
        # `reset` takes no total of None, which stands for a length that is not known yet.
        self.bar.reset(self.task, completed=batch, description=name, visible=True)
        if total is not None:
            self.bar.update(self.task, total=total)
        self.bar.refresh()  # a compilation may keep the thread that does it from its turn

    def advance(self, batch: int, loss: float, pace: str) -> None:
        shown = {"loss": format_number(loss), "pace": pace}
        self.bar.update(self.task, completed=batch, description=f"epoch {self.epoch}", **shown)

    def validate(self, batch: int) -> None:
        name = f"epoch {self.epoch}, validation"
        self.bar.update(self.task, completed=batch, description=name)

    def line(self, text: str) -> None:
        self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self.bar.stop()
        atexit.unregister(self.bar.stop)
