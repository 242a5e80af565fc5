"""Plots, as PNG files: of schedules, of losses, of sweeps over a hyperparameter.

Needs matplotlib, from the extra `plot`; no display.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.hyperparams import Schedule
from gradtx.loop import History
from gradtx.observers.jsonl import read_jsonl
from gradtx.tuning.lr_find import LrFind

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "gradtx.report.plots needs matplotlib. Install it with `pip install gradtx[plot]`."
    ) from error

WIDTH, HEIGHT = 7.0, 3.5  # inches
DOTS = 120  # per inch


def plot_schedule(
    schedules: Schedule | Mapping[str, Schedule], steps: int, path: str | Path
) -> Path:
    """Plot a schedule, or several by name one above the other, over steps 0 to `steps` - 1.

    A schedule of values by group gets a line for each. Returns the path of the PNG file.

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
    figure, axes = _figure(rows=len(named))
    for ax, (name, schedule) in zip(axes, named.items(), strict=True):
        # Optax's schedules mix dtypes.
        with jax.numpy_dtype_promotion("standard"):
            values = jax.vmap(schedule)(counts)
        for group, line in values.items() if isinstance(values, dict) else [("", values)]:
            ax.plot(counts, line, label=group)
        if isinstance(values, dict):
            ax.legend()
        ax.set_ylabel(name)
    axes[-1].set_xlabel("step")
    return _save(figure, path)


def plot_losses(history: History | str | Path, path: str | Path) -> Path:
    """Plot the training loss of every step, its smooth value, and the validation losses.

    `history` is what a fit returns, or the path of the file that `jsonl` wrote. A validation loss
    stands at the last step of its epoch. Returns the path of the PNG file.

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
    smooth = history.steps["train_loss"]
    valid = np.array([row["valid_loss"] for row in history.rows])
    figure, (ax,) = _figure()
    done = 1 + history.steps.get("step", np.arange(len(loss)))
    ax.plot(done, loss, color="0.8", linewidth=0.8, label="train, each step")
    ax.plot(done, smooth, label="train, smooth")
    if np.isfinite(valid).any():
        ax.plot(_ends(history), valid, marker="o", markersize=4, label="validation")
    ax.set(xlabel="steps", ylabel="loss", ylim=_limits(np.concatenate([smooth, valid])))
    ax.legend()
    return _save(figure, path)


def _ends(history: History) -> np.ndarray:
    """The number of steps done at the end of each epoch; epochs of a fit are equally long."""
    if history.rows and "step" in history.rows[0]:
        return np.array([row["step"] for row in history.rows])
    epochs, steps = len(history.rows), len(history.steps["loss"])
    return np.arange(1, epochs + 1) * steps / epochs


def _limits(values: np.ndarray) -> tuple[float, float] | None:
    """Limits that the outliers among single steps do not set."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    margin = 0.1 * (float(np.ptp(finite)) or 1.0)
    return float(finite.min()) - margin, float(finite.max()) + margin


def plot_lr_find(result: LrFind, path: str | Path) -> Path:
    """Plot the smooth loss over the learning rate, with the suggestions marked on it.

    Returns the path of the PNG file.
    """
    figure, (ax,) = _figure()
    rates, losses = result.learning_rates, result.losses
    ax.plot(rates, losses)
    for name, rate in result.suggestions.items():
        if rate is not None:
            height = np.interp(np.log(rate), np.log(rates), losses)
            ax.plot([rate], [height], "o", label=f"{name}: {rate:.2g}")
    ax.set(xscale="log", xlabel="learning rate", ylabel="smooth loss")
    ax.legend()
    return _save(figure, path)


def plot_sweep(
    name: str, values: np.ndarray, figures: Mapping[str, np.ndarray], path: str | Path
) -> Path:
    """Plot final figures over the values of the hyperparameter `name`, one above the other.

    `values` and each of `figures`, such as valid_loss and accuracy, are float[n]; the values stand
    on a logarithmic axis, and figures that are not finite are left out. Returns the path of the PNG
    file.

    Raises:
        ValueError: if there are no figures.
    """
    if not figures:
        raise ValueError("plot_sweep: needs one figure at least; got none. Pass the valid_loss.")
    figure, axes = _figure(rows=len(figures))
    for ax, (label, heights) in zip(axes, figures.items(), strict=True):
        ax.plot(values, np.where(np.isfinite(heights), heights, np.nan), marker="o", markersize=4)
        ax.set(xscale="log", ylabel=label)
    axes[-1].set_xlabel(name)
    return _save(figure, path)


def _figure(rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, HEIGHT if rows == 1 else 2.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS, format="png")
    return path
