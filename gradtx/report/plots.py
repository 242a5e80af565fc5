"""Plots, as PNG files: of schedules, of losses, of searches for a hyperparameter."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.hyperparams import Schedule
from gradtx.drawing import Panels, draw, to_png
from gradtx.drawing.lines import HEIGHT
from gradtx.files import as_path
from gradtx.kinds import checked
from gradtx.loop import History
from gradtx.loop.history import EACH, VALID, loss_lines
from gradtx.observers.jsonl import read_jsonl
from gradtx.tuning.lr_find import LrFind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TALL = 2.9  # inches, of a panel on its own


@overload
def plot_schedule(
    schedules: Schedule | Mapping[str, Schedule], steps: int, path: None = None
) -> "Figure": ...


@overload
def plot_schedule(
    schedules: Schedule | Mapping[str, Schedule], steps: int, path: str | Path
) -> Path: ...


@checked
def plot_schedule(
    schedules: Schedule | Mapping[str, Schedule], steps: int, path: str | Path | None = None
) -> "Path | Figure":
    """Plot a schedule, or several by name one above the other, over steps 0 to `steps` - 1.

    A schedule of values by group gets a line for each. Returns the path of the PNG file.

    Args:
        schedules: a function from a step, int32[], to a value, float32[], or to a dict of values
            by group; or such functions by name.
        steps: the number of steps, at least 1.
        path: the PNG file; its directory is made if need be. None: the figure is returned, and a
            notebook shows it.

    Raises:
        ValueError: if there are no schedules or no steps.
    """
    named = dict(schedules) if isinstance(schedules, Mapping) else {"value": schedules}
    if not named or steps < 1:
        raise ValueError(
            f"plot_schedule: needs a schedule and a step at least; got {len(named)} schedules and"
            f" steps={steps}. Pass the number of steps of the fit."
        )
    counts = jnp.arange(steps)
    panels = {}
    for name, schedule in named.items():
        # Optax's schedules mix dtypes.
        with jax.numpy_dtype_promotion("standard"):
            values = jax.vmap(schedule)(counts)
        groups = values if isinstance(values, dict) else {"": values}
        panels[name] = {group: (counts, line) for group, line in groups.items()}
    return _plot(panels, path, xlabel="step")


@overload
def plot_losses(history: History | str | Path, path: None = None) -> "Figure": ...


@overload
def plot_losses(history: History | str | Path, path: str | Path) -> Path: ...


@checked
def plot_losses(history: History | str | Path, path: str | Path | None = None) -> "Path | Figure":
    """Plot the training loss of every step, its smooth value, and the validation losses.

    A validation loss stands at the last step of its epoch. Returns the path of the PNG file.

    Args:
        history: what a fit returns, or the path of the file that `jsonl` wrote.
        path: the PNG file; its directory is made if need be. None: the figure is returned, and a
            notebook shows it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no steps.
    """
    history = history if isinstance(history, History) else read_jsonl(history)
    loss = history.steps.get("loss", np.zeros(0))
    if len(loss) == 0:
        raise ValueError(
            "plot_losses: the history must have steps; got none. Train for an epoch first."
        )
    return _plot({"loss": loss_lines(history)}, path, xlabel="steps", faint=[EACH], marked=[VALID])


@overload
def plot_lr_find(result: LrFind, path: None = None) -> "Figure": ...


@overload
def plot_lr_find(result: LrFind, path: str | Path) -> Path: ...


@checked
def plot_lr_find(result: LrFind, path: str | Path | None = None) -> "Path | Figure":
    """Plot the smooth loss over the learning rate, with the suggestions marked on it.

    The figure is that of `LrFind.figure`. Returns the path of the PNG file.

    Args:
        result: what `lr_find` has found.
        path: the PNG file; its directory is made if need be. None: the figure is returned, and a
            notebook shows it.
    """
    return _made(result.figure(), path)


@overload
def plot_sweep(
    name: str, values: np.ndarray, figures: Mapping[str, np.ndarray], path: None = None
) -> "Figure": ...


@overload
def plot_sweep(
    name: str, values: np.ndarray, figures: Mapping[str, np.ndarray], path: str | Path
) -> Path: ...


@checked
def plot_sweep(
    name: str,
    values: np.ndarray,
    figures: Mapping[str, np.ndarray],
    path: str | Path | None = None,
) -> "Path | Figure":
    """Plot final figures over the values of a hyperparameter, one above the other.

    Figures that are not finite are left out. Returns the path of the PNG file.

    Args:
        name: of the hyperparameter.
        values: its values, float[n], on a logarithmic axis.
        figures: such as valid_loss and accuracy, by name: float[n] each.
        path: the PNG file; its directory is made if need be. None: the figure is returned, and a
            notebook shows it.

    Raises:
        ValueError: if there are no figures.
    """
    if not figures:
        raise ValueError("plot_sweep: needs one figure at least; got none. Pass the valid_loss.")
    panels = {label: {"": (values, heights)} for label, heights in figures.items()}
    return _plot(panels, path, xlabel=name, log_x=True, marked=[""])


def _plot(panels: Panels, path: str | Path | None, **how) -> "Path | Figure":
    height = TALL if len(panels) == 1 else HEIGHT
    return _made(draw(panels, height=height, points=None, **how), path)


def _made(figure: "Figure", path: str | Path | None) -> "Path | Figure":
    """What a plot returns: the path of its file, or the figure where there is to be none."""
    return figure if path is None else write_png(figure, path)


def write_png(figure: "Figure", path: str | Path) -> Path:
    """Write a figure as a PNG file, and return its path."""
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(figure))
    return path
