"""Effects on the host while a fit runs: what an observer is, and what it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gradtx.kinds import checked
from gradtx.loop.history import History
from gradtx.loop.program import Program
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
    """What an observer is told; it only reads. What an event does not have is None.

    Args:
        event: which of the observed events it is.
        state: as the event finds it. Its buffers are donated to the next step: copy what you keep.
            At after_batch only if one of the observers reads it there (`Observer.reads`).
        epoch: of this fit, from 0.
        epochs: how many the fit has.
        batch: training batches done in this epoch.
        log: of the last step, scalars on the host.
        row: of the epoch that ended, as in the epoch table.
        history: at after_fit all of it; at before_fit that of the epochs done before.
        step: training batches done in all fits of this state.
        left: at after_batch, how many more steps had ended when the host looked, of which it tells
            right after this one.
        program: at after_epoch: a function that says what the program of a step takes, which the
            fit has compiled; it returns None where all steps ran in blocks.
    """

    event: str
    state: TrainState
    epoch: int
    epochs: int
    batch: int
    log: Mapping[str, Any] | Any = None
    row: Mapping[str, float] | Any = None
    history: History | Any = None
    step: int = 0
    left: int = 0
    program: Callable[[], Program | None] | None = None


def _every(step: int) -> bool:
    del step
    return True


def never(step: int) -> bool:
    """`reads` of an observer that is content with the logs.

    Args:
        step: not looked at.
    """
    del step
    return False


@checked
@dataclass(frozen=True)
class Observer:
    """Effects on the host: progress, files, checkpoints. Called in the order given.

        on[event](report)        at each event of a fit, after the state has come to be so

    Steps may run in blocks, and the host looks at them together. after_batch is told for each step,
    in order, when its log has come. Where `reads` says yes, the block ends, and the report has the
    state; so an observer that needs only logs should say `reads=never`.

    Args:
        on: event -> function of a `Report`. The events are before_fit, before_epoch, after_batch
            (of training batches), before_validate, after_epoch and after_fit.
        flush: writes what is still held back; a checkpoint calls it, so that no file is behind it.
        watches: the column of the epoch table that it judges; a fit must have it. None for none.
        reads: step -> whether after_batch reads the state when `step` steps are done, over all
            fits; asked once for each step, in order, some steps before. By default at every step.
        name: what messages call it; by default its functions are named.
        raised: is called with the error when a fit does not come to its end, as at Ctrl-C.

    Raises:
        TypeError: if one of these is something else.
        ValueError: if `on` has another event.
    """

    on: Mapping[str, Callable[[Report], None]]
    flush: Callable[[], None] = lambda: None
    watches: str | None = None
    reads: Callable[[int], bool] = _every
    name: str = ""
    raised: Callable[[BaseException], None] = lambda error: None

    def __post_init__(self) -> None:
        for event in self.on:
            if event not in OBSERVED:
                raise ValueError(
                    f"Observer: `on` must have events that are observed; got {event!r}. Use one of:"
                    f" {', '.join(OBSERVED)}; a Hook for others."
                )

    @property
    def described(self) -> str:
        """What messages call it."""
        if self.name:
            return f"observer {self.name!r}"
        functions = (getattr(f, "__qualname__", type(f).__name__) for f in self.on.values())
        return f"the observer of {', '.join(dict.fromkeys(functions)) or 'nothing'}"
