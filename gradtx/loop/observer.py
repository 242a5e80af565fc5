"""Effects on the host while a fit runs: what an observer is, and what it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gradtx.loop.history import History
from gradtx.loop.state import TrainState

OBSERVED = (
    "before_fit",
    "before_epoch",
    "after_batch",
    "before_validate",
    "after_epoch",
    "after_fit",
)


class Report(NamedTuple):
    """What an observer is told; it only reads.

    The buffers of `state` are donated to the next step: copy what you keep of it. `log` may be
    kept.
    """

    event: str
    state: TrainState
    epoch: int  # of this fit, from 0
    epochs: int
    batch: int  # training batches done in this epoch
    log: Mapping[str, Any] | None = None  # of the last step; device scalars
    row: Mapping[str, float] | None = None  # of the epoch that ended
    history: History | None = None  # at after_fit; at before_fit of the epochs done before


@dataclass(frozen=True)
class Observer:
    """Effects on the host: progress, files, checkpoints. Called in the order given.

        on[event](report)        at each event of a fit, after the state has come to be so

    Args:
        on: event -> function of a `Report`. The events are before_fit, before_epoch, after_batch
            (of training batches), before_validate, after_epoch and after_fit.
        flush: writes what is still held back; a checkpoint calls it, so that no file is behind it.

    Raises:
        ValueError: if `on` has another event.
    """

    on: Mapping[str, Callable[[Report], None]]
    flush: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for event in self.on:
            if event not in OBSERVED:
                raise ValueError(
                    f"Observer: `on` must have events that are observed; got {event!r}. Use one of:"
                    f" {', '.join(OBSERVED)}; a Hook for others."
                )
