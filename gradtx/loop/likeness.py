"""Loops that do the same: what a program that was compiled for one may be used for."""

import dataclasses
from typing import Any

from gradtx.loop.copies import Itself, copy_of
from gradtx.loop.loop import Loop
from gradtx.loop.metric import Metric

METRICS = ("metrics", "train_metrics")


class LoopKey:
    """Equal to that of another loop if a program for one does what the other says.

        key(a) = key(b)  if a and b have the same functions, and the same hooks or copies of them

    Args:
        loop: the loop.
    """

    def __init__(self, loop: Loop) -> None:  # noqa: D107
        self.loop = loop
        fields = {field.name: getattr(loop, field.name) for field in dataclasses.fields(loop)}
        rest = [value for name, value in fields.items() if name not in (*METRICS, "hooks")]
        metrics = [_metric(x) for name in METRICS for x in fields[name].values()]
        self.own = [*map(Itself, rest), *metrics]
        self.names = (*(tuple(fields[name]) for name in METRICS), *(x.name for x in loop.hooks))
        self.copies = [copy_of(hook) for hook in loop.hooks]

    def __hash__(self) -> int:
        return hash(self.names)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, LoopKey) or (self.names, self.own) != (other.names, other.own):
            return False
        hooks = zip(self.loop.hooks, other.loop.hooks, self.copies, other.copies, strict=True)
        return all(a is b or x == y for a, b, x, y in hooks)


def _metric(metric: Any) -> Any:
    """A function of the user's is itself alone; what a factory has made, as it was made."""
    return copy_of(metric) if isinstance(metric, Metric) else Itself(metric)
