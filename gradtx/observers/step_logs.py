"""The steps' logs, as numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradtx.loop import Report


@dataclass
class StepLogs:
    """Gathers the logs of steps; `take` gives them as numbers, with the step and the epoch.

    Steps are numbered from 0 over all fits, as schedules count them.
    """

    waiting: list[dict[str, Any]] = field(default_factory=list)

    def before_fit(self, report: Report) -> None:
        """Forget what a fit that did not come to its end has left."""
        self.waiting = []

    def after_batch(self, report: Report) -> None:
        """Keep the log of a step."""
        self.waiting.append(_record(report.step - 1, report.epoch, dict(report.log or {})))

    def take(self) -> list[dict[str, Any]]:
        """The logs since the last call."""
        ready, self.waiting = self.waiting, []
        return ready


def _record(step: int, epoch: int, log: dict[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in log.items() if name != "alive"}
    return {"step": step, "epoch": epoch} | map_values(lambda x: x.item(), values)


def map_values(f: Callable[[Any], Any], values: Any) -> Any:
    """Apply `f` to each value of a nested dict; keeps the order, which jax.tree.map does not."""
    if isinstance(values, dict):
        return {name: map_values(f, value) for name, value in values.items()}
    return f(values)
