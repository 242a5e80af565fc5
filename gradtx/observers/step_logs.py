"""The steps' logs, as numbers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradtx.loop import Report


@dataclass
class StepLogs:
    """Gathers the logs of steps; `take` gives them as numbers and lists, with step and epoch.

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
    return {"step": step, "epoch": epoch} | map_values(lambda x: x.tolist(), values)


def map_values(f: Callable[[Any], Any], values: Any) -> Any:
    """Apply `f` to each value of nested dicts and lists, in their order.

    `jax.tree.map` does not keep that.
    """
    if isinstance(values, dict):
        return {name: map_values(f, value) for name, value in values.items()}
    if isinstance(values, list):
        return [map_values(f, value) for value in values]
    return f(values)


def flat(prefix: str, values: Any, *, lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Each number of nested dicts and lists, with its name: `learning_rate/GROUP`, `counts/0`.

    With `lists=False` a list stays one value.

    >>> dict(flat("step", {"rate": {"body": 0.5}, "counts": [3, 4]}))
    {'step/rate/body': 0.5, 'step/counts/0': 3, 'step/counts/1': 4}
    """
    if isinstance(values, Mapping):
        inner = values.items()
    elif lists and isinstance(values, list):
        inner = enumerate(values)
    else:
        yield prefix, values
        return
    for name, value in inner:
        yield from flat(f"{prefix}/{name}", value, lists=lists)
