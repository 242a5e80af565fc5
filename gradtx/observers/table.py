"""The epoch table, as plain lines."""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from gradtx.loop import History, Observer, Report
from gradtx.output import lossy

WIDTH = 10
MEAN = "train_loss_mean"
FOOT = (
    "train_loss is a running average over the whole fit; an epoch's mean is"
    f" {MEAN}, in metrics.jsonl."
)


def table(*, file: TextIO | None = None) -> Observer:
    """Print the epoch table: a header, then one aligned line at the end of each epoch.

        epoch  train_loss  valid_loss    accuracy        time
            0      0.6931      0.5127      0.8125      12.3 s

    `train_loss` is a running average over the whole fit, as in fastai: at first it lies behind the
    epoch's mean, `train_loss_mean`, which the history and metrics.jsonl have beside it. A line at
    the foot says so. A dash stands where an epoch has no value: no validation, or one that was cut
    short. A metric that is an array has no column. A resumed fit shows the epochs before it too.

    Args:
        file: where to write; by default what is the standard output when a line is printed.
    """
    show = lambda line: print(line, file=lossy(file or sys.stdout), flush=True)
    lines = Lines()

    def before_fit(report: Report) -> None:
        for line in lines.begin(report.history):
            show(line)

    def after_epoch(report: Report) -> None:
        for line in lines.of(report.row or {}):
            show(line)

    def after_fit(report: Report) -> None:
        for line in lines.end():
            show(line)

    return Observer(
        {"before_fit": before_fit, "after_epoch": after_epoch, "after_fit": after_fit}, name="table"
    )


@dataclass
class Lines:
    """The lines of one fit's table: the header comes with the first row."""

    more: tuple[str, ...] = ()  # columns that a row may lack
    headed: bool = False
    smoothed: bool = False  # whether the rows have the epoch's mean beside the running average

    def begin(self, history: History | None = None) -> list[str]:
        """A new table; what to print of the epochs that a resumed fit has behind it."""
        self.headed = False
        return [line for row in (history.rows if history else []) for line in self.of(row)]

    def of(self, row: Mapping[str, float]) -> list[str]:
        """What to print at the end of an epoch."""
        is_shown = lambda name: name != MEAN and not isinstance(row[name], list)
        shown = {name: row[name] for name in row if is_shown(name)}
        shown |= {name: row.get(name, math.nan) for name in self.more}
        lines = [format_line(shown)]
        if not self.headed:
            lines.insert(0, format_header(shown))
        self.headed, self.smoothed = True, MEAN in row
        return lines

    def end(self) -> list[str]:
        """What to print below the table: what its `train_loss` is."""
        return [FOOT] if self.headed and self.smoothed else []


def format_header(names: Iterable[str]) -> str:
    """The names of the columns, aligned as `format_line` aligns the values."""
    return "  ".join(name.rjust(_width(name)) for name in names)


def format_line(row: Mapping[str, float]) -> str:
    """A line of the table.

    >>> format_line({"epoch": 0, "train_loss": 0.5, "valid_loss": float("nan"), "time": 75.0})
    '    0      0.5000           -        1:15'
    """
    return "  ".join(_cell(name, value).rjust(_width(name)) for name, value in row.items())


def _width(name: str) -> int:
    return len(name) if name == "epoch" else max(WIDTH, len(name))


def _cell(name: str, value: float) -> str:
    if name == "epoch":
        return str(int(value))
    if name.endswith("/s") and not math.isnan(value):
        return f"{value:,.0f}"
    return format_time(value) if name == "time" else format_number(value)


def format_number(value: float) -> str:
    """Four decimals, or an exponent where those would not do.

    >>> [format_number(x) for x in (0.25, 3e-6, 1234567.0, float("inf"), float("nan"))]
    ['0.2500', '3.000e-06', '1.235e+06', 'inf', '-']
    """
    if math.isnan(value):
        return "-"
    plain = value == 0 or 1e-3 <= abs(value) < 1e5
    return f"{value:.4f}" if plain or math.isinf(value) else f"{value:.3e}"


def format_time(seconds: float) -> str:
    """Seconds, for people.

    >>> [format_time(t) for t in (0.51, 59.9, 59.97, 61.2, 3725)]
    ['0.5 s', '59.9 s', '1:00', '1:01', '1:02:05']
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
