"""What a fit reports of itself: the epoch table, and the logs of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.drawing.lines import Line, draw
from gradtx.drawing.notebook import fragment, grid, picture
from gradtx.loop.state import TRAIN, is_of_training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EACH, SMOOTH, VALID = "train, each step", "train, smooth", "validation"
TRAINING = "train"
# Of a row, what is no figure of its own panel.
OTHER = ("epoch", "step", "train_loss", "train_loss_mean", "valid_loss", "time")


@dataclass(frozen=True)
class History:
    """What a fit reports. A notebook shows it as a table under its curves.

    Args:
        rows: a dict for each epoch: epoch; train_loss, the smooth one, which runs over the whole
            fit as fastai's; train_loss_mean, the weighted mean of the epoch's losses; the
            training's metrics, each as train_ and its name; valid_loss, the metrics, time in
            seconds. NaN where there is no value. A metric that is an array is a list, of lists if
            it has several axes.
        steps: an array for each entry of the steps' logs (loss, learning_rate, ...), a value a
            step; `loss` is NaN where it did not count: see `train_step`. So is what hooks log only
            sometimes at the steps without.
        samples: of the arrays that hooks log sometimes, such as the counts of a histogram, by name:
            step -> array; steps are numbered from 0 over all fits.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    samples: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)

    def figure(self) -> "Figure":
        """The losses of the steps and the epochs, and a panel for each metric and learning rate.

        Raises:
            ValueError: if there are neither steps nor epochs.
            ImportError: without matplotlib, from the extra `plot`.
        """
        rates = {n: x for n, x in self.steps.items() if n.rpartition(".")[2] == "learning_rate"}
        panels = self._metrics()
        panels |= {name.replace("_", " "): self._by_group(x) for name, x in rates.items()}
        if losses := loss_lines(self):
            panels = {"loss": losses} | panels
        if not panels:
            raise ValueError(
                "History.figure: the history must have steps or epochs; got neither. Train for an"
                " epoch first."
            )
        look: Any = {"faint": [EACH], "marked": [VALID, TRAINING], "points": None}
        return draw(panels, **look)

    def _metrics(self) -> dict[str, dict[str, Line]]:
        """The metrics that are a number in each epoch, of training beside those of validation."""
        found: dict[str, dict[str, Line]] = {}
        for name in self.rows[0] if self.rows else ():
            values: list[Any] = [row.get(name, np.nan) for row in self.rows]
            if name not in OTHER and all(np.shape(v) == () for v in values):
                of_training = is_of_training(name)
                own = name.removeprefix(TRAIN) if of_training else name
                line = ends(self), np.array(values, float)
                found.setdefault(own, {})[TRAINING if of_training else VALID] = line
        return found

    def _by_group(self, values: Any) -> dict[str, Line]:
        groups = values if isinstance(values, Mapping) else {"": values}
        return {name: (1 + np.arange(len(y)), np.asarray(y)) for name, y in groups.items()}

    def _repr_html_(self) -> str:
        if not self.rows and not len(self.steps.get("loss", ())):
            return fragment("A history without an epoch.")
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        rows = [[row.get(name) for name in columns] for row in self.rows]
        curves = picture(self.figure, "the curves of the fit")
        return fragment(curves, grid(columns, rows)) if rows else fragment(curves)


def loss_lines(history: History) -> dict[str, Line]:
    """The losses of a history over the number of steps done: name -> (x, y).

    A validation loss stands at the last step of its epoch. Without steps, as where each was part of
    a larger program, the losses are those of the epochs.

    Args:
        history: what a fit returned.
    """
    lines, pick = {}, lambda name: np.array([row.get(name, np.nan) for row in history.rows], float)
    loss = history.steps.get("loss", np.zeros(0))
    if len(loss):
        done = 1 + history.steps.get("step", np.arange(len(loss)))
        lines = {EACH: (done, loss), SMOOTH: (done, history.steps["train_loss"])}
    elif np.isfinite(pick("train_loss")).any():
        lines[SMOOTH] = ends(history), pick("train_loss")
    if np.isfinite(pick("valid_loss")).any():
        lines[VALID] = ends(history), pick("valid_loss")
    return lines


def ends(history: History) -> np.ndarray:
    """The number of steps done at the end of each epoch; epochs of a fit are equally long.

    Without steps it is the number of the epoch, from 1 on.

    Args:
        history: what a fit returned.
    """
    if history.rows and "step" in history.rows[0]:
        return np.array([row["step"] for row in history.rows])
    epochs = len(history.rows)
    steps = len(history.steps.get("loss", ())) or epochs
    return np.arange(1, epochs + 1) * steps / epochs


def with_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """A log or a row of the compiled programs, on the host: NaN where there is no value.

        value' = value if known else NaN        for each name in values["known"], which is left out

    In a compiled program what has no value is 0, so that a fit that is well makes no NaN.

    >>> with_nan({"loss": np.zeros(2), "known": {"loss": np.array([True, False])}})
    {'loss': array([ 0., nan])}

    Args:
        values: arrays, with any leading axes; as it came if it has no "known".
    """
    known = values.get("known", {})
    rest = {name: value for name, value in values.items() if name != "known"}
    fill = lambda name, value: np.where(known[name], value, np.nan) if name in known else value
    return {name: fill(name, value) for name, value in rest.items()}
