"""How long it took."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup
from gradtx.report.parallel import is_number
from gradtx.report.run import Run
from gradtx.report.sections.frame import long_table, note, number, section
from gradtx.report.sections.options import by_run

UNITS = {  # of an entry of the file: what it is called here, and by which factor
    "time": ("seconds", 1),
    "step_time": ("ms a step", 1000),
    "examples_per_s": ("examples/s", 1),
    "compile_time": ("compiling, s", 1),
    "device_memory": ("device memory, MiB", 2**-20),
    "flops": ("MFLOP a step", 1e-6),
    "flops_per_s": ("GFLOP/s", 1e-9),
    "utilisation": ("% of the peak", 100),
}
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
    each = [{name: number(x) for name, x in _medians(run).items()} for run in runs.values()]
    if not any(each):
        return []
    said = "The medians over the epochs after the first, which compiles the programs."
    return [section("Times", note(said), by_run("an epoch's", runs, each))]


def _columns(run: Run) -> dict[str, list[Any]]:
    """Epoch, steps, what the file says of each epoch, and what follows of its seconds."""
    steps = np.diff([0, *(row.get("step", 0) for row in run.times)])
    names = dict.fromkeys(name for row in run.times for name in row if name not in LINE)
    found = {"epoch": [row.get("epoch") for row in run.times], "steps": [*map(int, steps)]}
    for name in names:
        shown, factor = UNITS.get(name, (name.replace("_", " "), 1))
        values = (row.get(name) for row in run.times)
        found[shown] = [float(x) * factor if is_number(x) else None for x in values]
    if "step_time" in names or "time" not in names:
        return found
    # Files of older versions have no more than the seconds.
    rate = [n / x if x and n > 0 else None for n, x in zip(steps, found["seconds"], strict=True)]
    found[UNITS["step_time"][0]] = [None if x is None else float(1000 / x) for x in rate]
    if isinstance(size := run.config.get("batch_size"), int):
        found[UNITS["examples_per_s"][0]] = [None if x is None else float(x * size) for x in rate]
    return found


def _medians(run: Run) -> dict[str, float]:
    if not run.times:
        return {}
    found = {}
    for name, values in _columns(run).items():
        later = [float(x) for x in values[1:] or values if is_number(x)]
        if later and name != "epoch":
            found[name] = float(np.median(later))
    return found


def _in_words(run: Run) -> str:
    """How long it compiled: as the run has measured it, or how much longer the first epoch was."""
    said = "An epoch's time is with its validation, the first one's with the compilation"
    numbers = lambda name: [float(x) for row in run.times if is_number(x := row.get(name))]
    seconds, compiled = numbers("time"), numbers("compile_time")
    if compiled:
        return f"{said}: {number(sum(compiled))} s."
    if len(seconds) < 2:
        return f"{said}."
    later = float(np.median(seconds[1:]))
    first, more = number(seconds[0]), number(max(seconds[0] - later, 0.0))
    return f"{said}: {first} s, later ones {number(later)} s; so compiling took about {more} s."
