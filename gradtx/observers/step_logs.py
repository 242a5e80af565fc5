"""The steps' logs, brought to the host without waiting for the device."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax

from gradtx.loop import Report


@dataclass
class StepLogs:
    """Gathers the logs of steps; `take` gives them as numbers, with the step and the epoch.

    Steps are numbered from 0 over all fits, as schedules count them. A step that came after the
    end of its phase and did nothing is left out.
    """

    waiting: list[tuple[int, int, Any]] = field(default_factory=list)  # step, epoch, log
    offset: int = 0

    def before_fit(self, report: Report) -> None:
        """Forget what a fit that did not come to its end has left."""
        self.waiting = []

    def before_epoch(self, report: Report) -> None:
        """Find out which step comes next."""
        self.offset = int(report.state.step) - report.batch

    def after_batch(self, report: Report) -> None:
        """Keep the log of a step, unread."""
        self.waiting.append((self.offset + report.batch - 1, report.epoch, report.log))

    @property
    def settled(self) -> bool:
        """Whether there are logs beside the newest, whose step may be running."""
        return len(self.waiting) > 1

    def take(self, *, last: bool = True) -> list[dict[str, Any]]:
        """The logs since the last call; without `last` all but the newest."""
        end = len(self.waiting) if last else max(len(self.waiting) - 1, 0)
        ready, self.waiting = self.waiting[:end], self.waiting[end:]
        logs = jax.device_get([log for _, _, log in ready])
        numbers = [(step, epoch) for step, epoch, _ in ready]
        return [
            _record(*number, log) for number, log in zip(numbers, logs, strict=True) if log["alive"]
        ]


def _record(step: int, epoch: int, log: dict[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in log.items() if name != "alive"}
    return {"step": step, "epoch": epoch} | map_values(lambda x: x.item(), values)


def map_values(f: Callable[[Any], Any], values: Any) -> Any:
    """Apply `f` to each value of a nested dict; keeps the order, which jax.tree.map does not."""
    if isinstance(values, dict):
        return {name: map_values(f, value) for name, value in values.items()}
    return f(values)
