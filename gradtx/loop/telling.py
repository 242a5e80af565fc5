"""Telling the observers of a fit what has happened."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax

from gradtx.loop.observer import Observer, Report
from gradtx.loop.state import TrainState


class Position(NamedTuple):
    """Where in a fit a state is, as the host knows it.

    Args:
        level: the innermost level that is open, a `Level`.
        requested: the pending request.
        epoch: epochs finished in this fit.
        batch: training batches seen in this epoch.
        step: training batches seen, over all fits.
    """

    level: int
    requested: int
    epoch: int
    batch: int
    step: int


class _Unread:
    """In the place of a state that no observer has asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python and its tools ask every object for these
            raise AttributeError(name)
        raise RuntimeError(
            "Report.state: an observer must say at which steps it reads the state; got none at this"
            " step. Give it `reads`, a function of the number of steps done."
        )


UNREAD: Any = _Unread()


@dataclass(frozen=True)
class Told:
    """The observers of a fit of `epochs` epochs."""

    observers: Sequence[Observer]
    epochs: int

    def of(self, event: str, state: TrainState, at: Position, **details: Any) -> None:
        """Tell of an event."""
        report = Report(event, state, at.epoch, self.epochs, at.batch, step=at.step, **details)
        for observer in self.observers:
            if event in observer.on:
                observer.on[event](report)

    @contextmanager
    def of_errors(self) -> Iterator[None]:
        """Tell of what ends the fit inside."""
        try:
            yield
        except BaseException as error:
            for observer in self.observers:
                observer.raised(error)
            raise

    @cached_property
    def of_each_step(self) -> list[Observer]:
        """Those that are told of steps."""
        return [observer for observer in self.observers if "after_batch" in observer.on]

    def is_read(self, step: int) -> bool:
        """Whether an observer reads the state after `step` steps; asks all of them."""
        return any([observer.reads(step) for observer in self.of_each_step])

    def of_steps(
        self,
        logs: Any,
        more: Sequence[dict[str, Any]],
        seen: TrainState | None,
        after: Position,
    ) -> None:
        """Tell of steps with these logs, and each with its `more`; the last has come to `after`."""
        count = len(more)
        for i in range(count if self.of_each_step else 0):
            left = count - 1 - i
            state = seen if seen is not None and not left else UNREAD
            log = jax.tree.map(lambda x, i=i: x[i], logs) | more[i]
            at = after._replace(batch=after.batch - left, step=after.step - left)
            self.of("after_batch", state, at, log=log, left=left)
