"""What a search for a learning rate has found: the curve, one rate, and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.drawing import draw, element, fragment, grid, limits, picture
from gradtx.tuning.advice import doubts, falls, reason, recommended, usable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT = 2.9  # inches, of the figure's panel


@dataclass(frozen=True)
class LrFind:
    """The losses of a sweep over learning rates, one entry for each step that was made.

        learning_rates[i] -> losses[i]        i = 0 ... n - 1

    `losses` are smoothed, `raw_losses` as they came; the last ones may not be finite. It prints as
    its advice, and a notebook shows its figure.

    Args:
        learning_rates: float64[n], rising.
        losses: float64[n], the smooth training losses.
        raw_losses: float64[n], the losses of the batches.
        suggestions: a learning rate under minimum, steep, valley and slide, or None where the curve
            has too few points for it.
        steps: how many the sweep was to have; None: as many as it has.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    raw_losses: np.ndarray
    suggestions: dict[str, float | Any]
    steps: int | None = None

    @property
    def recommended(self) -> float | Any:
        """The learning rate to train with: the valley's, as fastai's; None if no loss ever fell."""
        name = recommended(self.suggestions)
        return None if name is None or not self._has_fallen else self.suggestions[name]

    @property
    def advice(self) -> str:
        """Which rate to take, why, and what to doubt, in words."""
        name, kept = recommended(self.suggestions), self._kept
        if name is None or len(kept) < 2:
            return "No learning rate is recommended: the curve has too few points."
        raw = self.raw_losses[kept.start : kept.stop]
        whole = len(self.losses) == (self.steps or len(self.losses))
        found = [f"{line}." for line in doubts(*self._curve, raw, whole=whole)]
        if self.recommended is None:
            return " ".join(["No learning rate is recommended.", *found])
        why = [reason(*self._curve)] if name == "valley" else []
        return " ".join([f"Learning rate {self.recommended:.3g}, by {name}.", *why, *found])

    @property
    def _kept(self) -> range:
        return usable(self.losses, self.steps or len(self.losses))

    @property
    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """What the rules looked at."""
        part = slice(self._kept.start, self._kept.stop)
        return self.learning_rates[part], self.losses[part]

    @property
    def _has_fallen(self) -> bool:
        return falls(self._curve[1]).max(initial=1) > 1

    def figure(self) -> "Figure":
        """The smooth loss over the learning rate, with the suggestions; a line is the recommended.

        Raises:
            ImportError: without matplotlib, from the extra `plot`.
        """
        rates, losses = self.learning_rates, self.losses
        lines = {"smooth loss": (rates, losses)}
        for name, rate in self.suggestions.items():
            if rate is not None:
                height = np.interp(np.log(rate), np.log(rates), losses)
                lines[f"{name}: {rate:.2g}"] = np.array([rate]), np.array([height])
        best = self.recommended
        at = {} if best is None else {f"recommended: {best:.2g}": best}
        look: Any = {"xlabel": "learning rate", "log_x": True, "points": None, "height": HEIGHT}
        figure = draw({"smooth loss": lines}, at=at, **look)
        if len(self._kept) > 1:  # the fall is what is looked at, not how high the loss blows up
            kept = losses[: self._kept.stop]
            figure.axes[0].set(ylim=limits([kept[: np.nanargmin(kept) + 1]]))
        return figure

    def __str__(self) -> str:
        shown = {name: "-" if x is None else f"{x:.3g}" for name, x in self.suggestions.items()}
        lines = [f"{name:8} {rate}" for name, rate in shown.items()]
        return "\n".join([*lines, self.advice])

    def _repr_html_(self) -> str:
        shown = ["-" if x is None else f"{x:.3g}" for x in self.suggestions.values()]
        curve = picture(self.figure, "the smooth loss over the learning rate")
        return fragment(
            element("p", element("b", self.advice)), curve, grid([*self.suggestions], [shown])
        )
