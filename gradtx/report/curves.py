"""The curves of runs: which there are, as lines over the number of steps done."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradtx.drawing import Line
from gradtx.loop import History
from gradtx.report.run import Run

EACH, SMOOTH, VALID = "training, each step", "training, smooth", "validation"
OWN = ("epoch", "step", "train_loss", "train_loss_mean", "valid_loss", "time")


def run_curves(run: Run) -> dict[str, dict[str, Line]]:
    """Panel -> line -> (x, y) of one run: losses, metrics, rates, the gradient's norm."""
    history = run.history
    panels = {"loss": {EACH: _steps(history, "loss"), SMOOTH: _steps(history, "train_loss")}}
    if _any(rows := _rows(history, "valid_loss")):
        panels["loss"][VALID] = rows
    for name in metrics_of(history):
        panels[name] = {VALID: _rows(history, name)}
    rates = [name for name in history.steps if _last(name) == "learning_rate"]
    for name in rates + [name for name in history.steps if _last(name) in run.momentum_names]:
        panels[_label(name, run.momentum_names)] = _grouped(history, name)
    if "gradient_norm" in history.steps:
        panels["gradient norm"] = {"": _steps(history, "gradient_norm")}
    return panels


def _last(name: str) -> str:
    """The hyperparameter's own name, without the parts of a chain that it is in."""
    return name.rpartition(".")[2]


def _label(name: str, momenta: Sequence[str]) -> str:
    """Of a panel: "learning rate", "momentum", "momentum (b1)"."""
    chain, dot, own = name.rpartition(".")
    if own in momenta and own != "momentum":
        own = f"momentum ({own})"
    return (chain + dot + own).replace("_", " ")


def overlay(runs: Mapping[str, Run]) -> dict[str, dict[str, Line]]:
    """Panel -> run -> (x, y); a run is missing where it has no such curve."""
    found: dict[str, dict[str, Line]] = {}

    def add(panel: str, run: str, line: Line) -> None:
        found.setdefault(panel, {})[run] = line

    for name, run in runs.items():
        for panel, lines in run_curves(run).items():
            if panel == "loss":
                add("training loss, smooth", name, lines[SMOOTH])
                if VALID in lines:
                    add("validation loss", name, lines[VALID])
                continue
            for part, line in lines.items():
                many = len(lines) > 1
                add(f"{panel}, {part}" if many else panel, name, line)
    return found


def metrics_of(history: History) -> list[str]:
    """The names of the metrics in the epoch table that are one number."""
    row = history.rows[0] if history.rows else {}
    return [name for name in row if name not in OWN and not isinstance(row[name], list)]


def _steps(history: History, name: str) -> Line:
    y = np.asarray(history.steps.get(name, np.zeros(0)), float)
    return np.asarray(history.steps.get("step", np.arange(len(y))))[: len(y)] + 1, y


def _rows(history: History, name: str) -> Line:
    pick = lambda key: np.array([row.get(key, np.nan) for row in history.rows], float)
    return pick("step"), pick(name)


def _grouped(history: History, name: str) -> dict[str, Line]:
    values: Any = history.steps[name]
    x, _ = _steps(history, "loss")
    if isinstance(values, Mapping):
        return {group: (x, np.asarray(y, float)) for group, y in values.items()}
    return {"": (x, np.asarray(values, float))}


def _any(line: Line) -> bool:
    return bool(np.isfinite(line[1]).any())


def best_row(history: History, names: Sequence[str]) -> dict[str, Any] | None:
    """The epoch with the greatest accuracy, if that is one of `names`, else the least valid_loss.

    Of other metrics it is not known whether a better one is greater.
    """
    key, sign = ("accuracy", 1) if "accuracy" in names else ("valid_loss", -1)
    rows = [row for row in history.rows if np.isfinite(row.get(key, np.nan))]
    return max(rows, key=lambda row: sign * row[key]) if rows else None
