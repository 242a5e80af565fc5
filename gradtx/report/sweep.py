"""What came of a sweep: a table, a JSON file and a plot."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gradtx.files import write_atomically
from gradtx.report.plots import plot_sweep
from gradtx.tuning.sweep import Sweep


def best_of(losses: np.ndarray) -> int | None:
    """The index of the least loss that is finite, or None."""
    finite = np.isfinite(losses)
    return int(np.argmin(np.where(finite, losses, np.inf))) if finite.any() else None


def sweep_table(columns: Mapping[str, np.ndarray]) -> str:
    """A line for each copy, of `columns` that are float[n]; the least valid_loss is marked."""
    best = best_of(columns["valid_loss"])
    lines = ["  ".join(f"{name:>13}" for name in columns)]
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        line = "  ".join(f"{value:13.4g}" for value in row)
        lines.append(line + ("  <- best" if i == best else ""))
    return "\n".join(lines)


def write_sweep(
    result: Sweep, name: str, values: np.ndarray, out: Path, *, ended: bool = True
) -> tuple[str, int | None]:
    """Write sweep.json and sweep.png, and return the table and the index of the best copy.

    Metrics that are arrays are left out. The JSON file has a list for each column, null where a
    figure is not finite, that index, and how many epochs are done.

    Args:
        result: what `sweep` has returned.
        name: of the hyperparameter.
        values: its values, float[n].
        out: the directory, which must be there.
        ended: whether no epoch is still to come; the plot waits for that.
    """
    figures = {column: x for column, x in result.last.items() if x.ndim == 1}
    losses = ["train_loss", "valid_loss"]
    order = losses + sorted(figures.keys() - set(losses))
    columns = {name: values} | {column: figures[column] for column in order}
    best = best_of(figures["valid_loss"])
    number = lambda x: float(x) if np.isfinite(x) else None
    lists = {column: [number(x) for x in figure] for column, figure in columns.items()}
    entries = lists | {"best": best, "epochs": len(result.rows["epoch"][0])}
    write_atomically(out / "sweep.json", json.dumps(entries, indent=2) + "\n")
    if ended:
        plot_sweep(name, values, {k: figures[k] for k in order[1:]}, out / "sweep.png")
    return sweep_table(columns), best
