"""Copies of a sweep, and runs by the options that differ, as parallel lines."""

from collections.abc import Mapping
from typing import Any

from gradtx.drawing.markup import Markup, element
from gradtx.report.parallel import is_number, parallel
from gradtx.report.run import Run
from gradtx.report.searches import columns_of
from gradtx.report.sections.epochs import last_figures
from gradtx.report.sections.frame import long_table, note, number, section

OPTIONS, FIGURES = 8, 4  # axes of each


def sweep(run: Run) -> list[Markup]:
    """A line and a row for each copy of a sweep.

    Args:
        run: the run.
    """
    if run.sweep is None:
        return []
    columns, best = columns_of(run.sweep), run.sweep.get("best")
    count = len(next(iter(columns.values())))
    names = [f"copy {i}{', the best' if i == best else ''}" for i in range(count)]
    alt = f"A line for each of {count} copies over {', '.join(columns)}"
    drawn = parallel({n: [*map(float, x)] for n, x in columns.items()}, names, alt=alt, best=best)
    rows = []
    for i in range(count):
        kind = {"class_": "best"} if i == best else {}
        cells = (i, *(number(float(values[i])) for values in columns.values()))
        rows.append([element("td", cell, **kind) for cell in cells])
    said = "No copy's validation loss is finite." if best is None else f"The best is copy {best}."
    epochs = run.sweep.get("epochs", "-")
    parts = note(f"{said} Epochs done: {epochs}."), drawn
    return [section("Sweep", *parts, *long_table(("copy", *columns), rows, class_="sortable"))]


def by_options(runs: Mapping[str, Run]) -> list[Markup]:
    """A line for each run, over the options that differ and its last figures.

    Args:
        runs: the runs by name.
    """
    names = dict.fromkeys(name for run in runs.values() for name in run.options)
    columns: dict[str, list[Any]] = {}
    for name in names:
        values = [run.config.get(name) for run in runs.values()]
        if len(set(map(str, values))) > 1 and name not in ("out", "name"):
            columns[name] = [x if x is None or is_number(x) else str(x) for x in values]
    options = [*columns]
    columns = {name: columns[name] for name in options[:OPTIONS]}
    last = [last_figures(run) for run in runs.values()]
    figures = dict.fromkeys(name for found in last for name in found)
    # A figure may have the name of an option, as `lr`, whose axis is that of what was chosen.
    others = [x for x in figures if x not in ("train_loss", "train_loss_mean", *options)]
    same = lambda name: len({found.get(name) for found in last}) < 2
    shown = sorted(others, key=same)[:FIGURES]  # first those that tell the runs apart
    columns |= {name: [found.get(name) for found in last] for name in shown}
    if len(runs) < 2 or len(columns) < 2:
        return []
    alt = f"A line for each run over {', '.join(columns)}"
    drawn = parallel(columns, [*runs], alt=alt, colors=range(len(runs)))
    more = f" Of {len(options)} options that differ the first {OPTIONS} are shown."
    said = "The options that differ, and the last figures." + more * (len(options) > OPTIONS)
    return [section("Runs as lines", note(said), drawn)]
