"""What a logger is: a place where the numbers of a run go beside its own files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol


class Record(NamedTuple):
    """What there is to log of a step, or of an epoch at its end.

    Args:
        kind: which of the two; with it the names of its values begin.
        step: training batches done by then, over all fits.
        epoch: of the fit, from 0.
        values: a number, or a nested list of such, for each name: `step/learning_rate/GROUP`.
    """

    kind: Literal["step", "epoch"]
    step: int
    epoch: int
    values: dict[str, Any]


class Opening(NamedTuple):
    """The run that a logger is to begin, or to go on with.

    Args:
        directory: of the run; its name is the run's.
        config: the hyperparameters of the run, by name, as in JSON.
        step: training batches done before all that will be logged.
        note: of the run that goes on, as the logger has returned it; None for one that begins.
    """

    directory: Path
    config: Mapping[str, Any]
    step: int
    note: dict[str, Any] | None


class End(NamedTuple):
    """How a fit has ended.

    Args:
        status: "finished", "failed" or "interrupted".
        step: training batches done.
        reason: why it did not finish, in words.
        faults: how often what went wrong, by kind.
    """

    status: Literal["finished", "failed", "interrupted"]
    step: int
    reason: str = ""
    faults: Mapping[str, int] = {}


class Logger(Protocol):
    """Three functions around a client; whatever they raise ends no training.

    They are called in a thread of the logger's own, one at a time. After an error the run is
    opened again, with the newest note, and what was not logged comes once more.
    """

    def open(self, opening: Opening) -> dict[str, Any]:
        """Begin a run, or go on with it; returns a note, as in JSON, from which to go on.

        Entries `step` and `epoch` of it, if it has them, say up to which step there are records of
        either kind; those do not come again.

        Args:
            opening: what is known of the run.
        """
        ...

    def log(self, records: Sequence[Record]) -> None:
        """Log records, in the order of their steps.

        Args:
            records: those since the last call.
        """
        ...

    def close(self, end: End) -> None:
        """Have all where it belongs, and say how the fit has ended.

        Args:
            end: how.
        """
        ...
