"""Whether a figure of the epoch table is better than the best so far."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.loop.state import OF_TRAINING, StepContext

LOSSES = (*OF_TRAINING, "valid_loss")


@dataclass(frozen=True)
class Improvement:
    """What a hook watches, and what counts as better.

        better = value < best - min_delta        for mode "min";  value > best + min_delta for "max"

    A figure without a value, as after a validation that was cut short, is never better, nor is NaN.

    Args:
        where: the hook or the search, for messages.
        metric: a column of the epoch table.
        mode: "min" or "max"; None will do for a loss, which is better when it is smaller.
        min_delta: by how much a better value must be better, not negative.

    Raises:
        ValueError: if `mode` is neither, or missing for a metric, or `min_delta` negative.
    """

    where: str
    metric: str
    mode: str | None
    min_delta: float

    def __post_init__(self) -> None:
        if self.mode is None:
            if self.metric not in LOSSES:
                raise ValueError(
                    f"{self.where}: `mode` must be given for {self.metric!r}, whose name does not"
                    ' say what is better; got None. Pass mode="min" if a better value is smaller,'
                    ' or mode="max".'
                )
            object.__setattr__(self, "mode", "min")
        if self.mode not in ("min", "max"):
            raise ValueError(
                f'{self.where}: `mode` must be "min" or "max"; got {self.mode!r}. Say whether a'
                " better value is smaller or greater."
            )
        if self.min_delta < 0:
            raise ValueError(
                f"{self.where}: `min_delta` must not be negative; got {self.min_delta}. Pass 0 or"
                " more."
            )

    def check(self, state: Any) -> None:
        """Require that the epoch table has the metric, and that it is one number.

        Raises:
            ValueError: naming those that it has.
        """
        shapes = state.metrics.shapes
        names = [name for name, shape in shapes.items() if not shape]
        if shapes.get(self.metric):
            raise ValueError(
                f"{self.where}: `metric` must be one number an epoch; got {self.metric!r}, an array"
                f" of shape {shapes[self.metric]}. Use one of: {', '.join(names)}."
            )
        if self.metric not in names:
            raise ValueError(
                f"{self.where}: `metric` must be in the epoch table; got {self.metric!r}. Use one"
                f" of: {', '.join(names)}."
            )

    def worst(self) -> jax.Array:
        """What any finite value is better than: float32[], and finite too."""
        worst = jnp.finfo(jnp.float32).max
        return jnp.full((), worst if self.mode == "min" else -worst, jnp.float32)

    def of(self, context: StepContext, best: jax.Array) -> tuple[jax.Array, jax.Array]:
        """bool[]: whether this epoch's value is better than `best`; and the best of both."""
        value = context.metrics.figures[self.metric]
        if self.mode == "min":
            better = value < best - self.min_delta
        else:
            better = value > best + self.min_delta
        better = better & context.metrics.known[self.metric]
        return better, jnp.where(better, value, best)
