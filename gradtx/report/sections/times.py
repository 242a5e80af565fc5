"""How long it took."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup
from gradtx.report.run import Run
from gradtx.report.sections.frame import long_table, note, number, section
from gradtx.report.sections.options import by_run

LINE = ("kind", "step", "epoch")  # of a line of metrics.times.jsonl, beside times


def times(run: Run) -> list[Markup]:
    """What each epoch took, with its validation, and what follows of a step and an image.

    Args:
        run: the run.
    """
    if not run.times:
        return []
    columns = _columns(run)
    rows = [[number(values[i]) for values in columns.values()] for i in range(len(run.times))]
    return [section("Times", note(_in_words(run)), *long_table([*columns], rows))]


def compared_times(runs: Mapping[str, Run]) -> list[Markup]:
    """The times of several runs, each the median over the epochs after the first.

    Args:
        runs: the runs by name.
    """
    each = [_medians(run) for run in runs.values()]
    names = dict.fromkeys(name for found in each for name in found)
    if not names:
        return []
    rows = {name: [number(found.get(name)) for found in each] for name in names}
    said = "The medians over the epochs after the first, which compiles the programs."
    return [section("Times", note(said), by_run("an epoch's", runs, rows))]


def _columns(run: Run) -> dict[str, list[Any]]:
    """Epoch, seconds, what else the file has, and what follows of them."""
    steps = np.diff([0, *(row.get("step", 0) for row in run.times)])
    names = dict.fromkeys(name for row in run.times for name in row if name not in LINE)
    found = {"epoch": [row.get("epoch") for row in run.times], "steps": [*map(int, steps)]}
    for name in names:
        shown = "seconds" if name == "time" else name.replace("_", " ")
        found[shown] = [row.get(name) for row in run.times]
    seconds = np.array([x if isinstance(x, float | int) else np.nan for x in found["seconds"]])
    counted = (steps > 0) & (seconds > 0)
    rate = np.divide(steps, seconds, out=np.full(len(steps), np.nan), where=counted)
    found["ms a step"] = [*map(float, 1000 / rate)]
    if isinstance(size := run.config.get("batch_size"), int):
        found["examples/s"] = [*map(float, rate * size)]
    return found


def _medians(run: Run) -> dict[str, float]:
    if not run.times:
        return {}
    found = {}
    for name, values in _columns(run).items():
        later = [float(x) for x in values[1:] or values if isinstance(x, int | float)]
        if later and name != "epoch":
            found[name] = float(np.median(later))
    return found


def _in_words(run: Run) -> str:
    """How much longer the first epoch was: what it compiled."""
    said = "An epoch's time is with its validation, the first one's with the compilation"
    seconds = [float(x) for row in run.times if isinstance(x := row.get("time"), int | float)]
    if len(seconds) < 2:
        return f"{said}."
    later = float(np.median(seconds[1:]))
    first, more = number(seconds[0]), number(max(seconds[0] - later, 0.0))
    return f"{said}: {first} s, later ones {number(later)} s; so compiling took about {more} s."
