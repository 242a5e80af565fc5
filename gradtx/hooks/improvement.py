"""Whether a figure of the epoch table is better than the best so far."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.loop import StepContext


@dataclass(frozen=True)
class Improvement:
    """What a hook watches, and what counts as better.

        better = value < best - min_delta        for mode "min";  value > best + min_delta for "max"

    A NaN, as after an epoch without validation, is never better.

    Args:
        where: the hook, for messages.
        metric: a column of the epoch table.
        mode: "min", "max", or None for what the metric's name says.
        min_delta: by how much a better value must be better, not negative.

    Raises:
        ValueError: if `mode` is neither, or `min_delta` negative.
    """

    where: str
    metric: str
    mode: str | None  # None: by the metric's name
    min_delta: float

    def __post_init__(self) -> None:
        if self.mode is None:
            falls = "loss" in self.metric or "error" in self.metric
            object.__setattr__(self, "mode", "min" if falls else "max")
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
        """Require that the epoch table has the metric.

        Raises:
            ValueError: naming those that it has.
        """
        names = list(state.metrics.row)
        if self.metric not in names:
            raise ValueError(
                f"{self.where}: `metric` must be in the epoch table; got {self.metric!r}. Use one"
                f" of: {', '.join(names)}."
            )

    def worst(self) -> jax.Array:
        """What any value is better than: float32[]."""
        return jnp.full((), jnp.inf if self.mode == "min" else -jnp.inf, jnp.float32)

    def of(self, context: StepContext, best: jax.Array) -> tuple[jax.Array, jax.Array]:
        """bool[]: whether this epoch's value is better than `best`; and the best of both."""
        value = context.metrics.row[self.metric]
        if self.mode == "min":
            better = value < best - self.min_delta
        else:
            better = value > best + self.min_delta
        return better, jnp.where(better, value, best)
