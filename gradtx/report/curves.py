"""The curves of runs: which there are, as lines over the number of steps done."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradtx.loop import History
from gradtx.report.run import Run
from gradtx.report.thin import Line

EACH, SMOOTH, VALID = "training, each step", "training, smooth", "validation"
OWN = ("epoch", "step", "train_loss", "train_loss_mean", "valid_loss", "time")
STEPS = ("epoch", "step", "loss", "train_loss", "requested", "gradient_norm")
PREFIXES = {
    "train": "training",
    "training": "training",
    "valid": VALID,
    "val": VALID,
    "validation": VALID,
    "eval": VALID,
    "test": "test",
}
HEALTH = "health/"


def run_curves(run: Run) -> dict[str, dict[str, Line]]:
    """Panel -> line -> (x, y) of one run: losses, metrics, rates, the gradient's norm."""
    history, panels = run.history, {}
    loss = {EACH: _steps(history, "loss"), SMOOTH: _steps(history, "train_loss")}
    if _any(rows := _rows(history, "valid_loss")):
        loss[VALID] = rows
    if not run.foreign:
        panels["loss"] = loss
    for name in numbers_of(history, ("step", "epoch") if run.foreign else OWN):
        panel, line = part_of(name)
        line = line or ("by epoch" if run.foreign else VALID)
        panels.setdefault(panel, {})[line] = _rows(history, name)
    if run.foreign:
        return _foreign(run, panels)
    rates = [name for name in history.steps if _last(name) == "learning_rate"]
    for name in rates + [name for name in history.steps if _last(name) in run.momentum_names]:
        panels[_label(name, run.momentum_names)] = grouped(history, name)
    if "gradient_norm" in history.steps:
        panels["gradient norm"] = {"": _steps(history, "gradient_norm")}
    return panels


def _foreign(run: Run, panels: dict[str, dict[str, Line]]) -> dict[str, dict[str, Line]]:
    """The curves of metrics that gradtx has not written: all that are numbers."""
    for name in run.history.steps:
        if name not in ("step", "epoch") and not name.startswith(HEALTH):
            panel, line = part_of(name)
            panels.setdefault(panel, {})[line] = run.history.steps["step"], run.history.steps[name]
    for panel, lines in panels.items():
        if len(lines) > 1 and "" in lines:  # beside a validation it is the training
            panels[panel] = {(key or "training"): line for key, line in lines.items()}
    return panels


def other_curves(run: Run) -> dict[str, dict[str, Line]]:
    """What else a run has logged at its steps, but for the health by layer: panel -> lines."""
    if run.foreign:
        return {}
    names = [name for name in run.history.steps if name not in STEPS and HEALTH not in name]
    shown = ("learning_rate", *run.momentum_names)
    lines = {name: grouped(run.history, name) for name in names if _last(name) not in shown}
    return {name: found for name, found in lines.items() if found}


def part_of(name: str) -> tuple[str, str]:
    """The panel of a metric, and what it is of.

    >>> part_of("val_accuracy"), part_of("accuracy"), part_of("train/loss")
    (('accuracy', 'validation'), ('accuracy', ''), ('loss', 'training'))

    Args:
        name: of the metric.
    """
    found = re.fullmatch(rf"({'|'.join(PREFIXES)})[_/.](.+)", name, re.DOTALL)
    return (found[2], PREFIXES[found[1]]) if found else (name, "")


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

    # A part has a panel of its own wherever one of the runs has several.
    curves = {name: run_curves(run) for name, run in runs.items()}
    parted = {panel for found in curves.values() for panel, x in found.items() if len(x) > 1}
    for name, panels in curves.items():
        for panel, lines in panels.items():
            if panel == "loss" and SMOOTH in lines:
                add("training loss, smooth", name, lines[SMOOTH])
                if VALID in lines:
                    add("validation loss", name, lines[VALID])
                continue
            for part, line in lines.items():
                add(f"{panel}, {part}" if part and panel in parted else panel, name, line)
    return found


def metrics_of(history: History) -> list[str]:
    """The names of the metrics in the epoch table."""
    return numbers_of(history, OWN)


def numbers_of(history: History, without: Sequence[str] = ()) -> list[str]:
    """The names of what is a number in the epoch table."""
    names = dict.fromkeys(name for row in history.rows for name in row if name not in without)
    number = lambda x: isinstance(x, int | float) and not isinstance(x, bool)
    return [name for name in names if any(number(row.get(name)) for row in history.rows)]


def _steps(history: History, name: str) -> Line:
    y = np.asarray(history.steps.get(name, np.zeros(0)), float)
    return np.asarray(history.steps.get("step", np.arange(len(y))))[: len(y)] + 1, y


def _rows(history: History, name: str) -> Line:
    def pick(key: str) -> np.ndarray:
        values = (row.get(key) for row in history.rows)
        return np.array([x if isinstance(x, int | float) else np.nan for x in values], float)

    return pick("step"), pick(name)


def grouped(history: History, name: str) -> dict[str, Line]:
    """The curves of an entry of the steps' logs: one, or one for each group; none of an array."""
    values: Any = history.steps[name]
    parts = values if isinstance(values, Mapping) else {"": values}
    steps = np.asarray(history.steps.get("step", np.arange(len(next(iter(parts.values())))))) + 1
    arrays = {part: np.asarray(y) for part, y in parts.items()}
    plain = {part: y for part, y in arrays.items() if y.ndim == 1 and y.dtype.kind in "fiub"}
    return {part: (steps, y.astype(float)) for part, y in plain.items()}


def _any(line: Line) -> bool:
    return bool(np.isfinite(line[1]).any())


def best_by(names: Sequence[str]) -> tuple[str, bool]:
    """What says which epoch is the best, and whether the greatest is: accuracy, else valid_loss.

    Of other metrics it is not known whether a better one is greater.
    """
    return ("accuracy", True) if "accuracy" in names else ("valid_loss", False)


def best_row(history: History, names: Sequence[str]) -> dict[str, Any] | None:
    """The epoch that is best by `best_by`, of equals the first."""
    key, most = best_by(names)
    sign = 1 if most else -1
    finite = lambda x: isinstance(x, int | float) and np.isfinite(x)
    rows = [row for row in history.rows if finite(row.get(key))]
    return max(rows, key=lambda row: sign * row[key]) if rows else None
