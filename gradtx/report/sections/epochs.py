"""The table of epochs, and for several runs what each has after its last."""

from collections.abc import Mapping
from typing import Any

from gradtx.drawing.markup import Markup, element, table
from gradtx.observers.table import FOOT
from gradtx.report.colors import line_class
from gradtx.report.curves import metrics_of
from gradtx.report.run import Run
from gradtx.report.sections.frame import long_table, note, number, section

LOSSES = ("train_loss", "train_loss_mean", "valid_loss")


def epochs(run: Run) -> Markup:
    """A row for each epoch.

    Args:
        run: the run.
    """
    rows = run.history.rows
    if not rows:
        return section("Epochs", note("No epoch has ended yet, or the metrics do not say."))
    there = lambda c: run.foreign is None or any(c in row for row in rows)
    columns = ("epoch", *filter(there, LOSSES), *metrics_of(run.history))
    cells = [[number(_plain(row.get(c))) for c in columns] for row in rows]
    foot = [note(FOOT)] if run.foreign is None else []
    return section("Epochs", *long_table(columns, cells), *foot)


def last_epochs(runs: Mapping[str, Run]) -> Markup:
    """A row for each run: its figures after the last epoch, or at its last step.

    Args:
        runs: the runs by name.
    """
    last = {name: last_figures(run) for name, run in runs.items()}
    columns = [*dict.fromkeys((*LOSSES, *(c for found in last.values() for c in found)))]
    columns = [c for c in columns if any(c in found for found in last.values())]
    rows = []
    for i, (name, run) in enumerate(runs.items()):
        numbers = [number(last[name].get(column)) for column in columns]
        count = len(run.history.rows) if run.foreign is None else "-"  # its epochs may be no lines
        cells = (run_name(name, i), count, *numbers, run.config.get("data", "-"))
        rows.append([element("td", cell, data_run=i) for cell in cells])
    return section("After the last epoch", table(("run", "epochs", *columns, "data"), rows))


def last_figures(run: Run) -> dict[str, float]:
    """The losses and metrics of the last epoch; of foreign metrics the last value of each field.

    Args:
        run: the run.
    """
    if run.foreign is not None:
        found = {name: y[y == y] for name, y in run.history.steps.items()}
        named = {name: float(y[-1]) for name, y in found.items() if len(y)}
        rows = {k: v for row in run.history.rows for k, v in row.items() if _plain(v) is not None}
        return {k: v for k, v in (named | rows).items() if k not in ("step", "epoch")}
    row = run.history.rows[-1] if run.history.rows else {}
    names = (*LOSSES, *metrics_of(run.history))
    return {name: row[name] for name in names if _plain(row.get(name)) is not None}


def run_name(name: str, index: int) -> Markup:
    """The name of a run beside its color.

    Args:
        name: of the run.
        index: its number.
    """
    path = element("path", d="M0 4H22", class_=f"line {line_class(index)}")
    shown = element("svg", path, class_="swatch")
    return element("span", shown, element("bdi", name), class_="run")


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float) else None
