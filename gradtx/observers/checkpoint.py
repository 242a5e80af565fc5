"""Checkpoints while a fit runs, written in the background."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from gradtx.checkpoint.layout import clean
from gradtx.checkpoint.leaves import check_leaves, leaves_of
from gradtx.checkpoint.orbax import require_orbax
from gradtx.checkpoint.retention import remove_others
from gradtx.checkpoint.saving import start_save
from gradtx.files import as_path
from gradtx.kinds import checked
from gradtx.loop import Observer, Report
from gradtx.output import counted, say_on_stderr


class Interrupted(Exception):
    """The fit was asked to stop, and did: `step` steps are done, and saved as `path`.

    Args:
        step: the number of steps done.
        path: the checkpoint of them, or None if they could not be saved.
    """

    def __init__(self, step: int, path: Path | None) -> None:  # noqa: D107
        saved = f"saved as {path}" if path else "not saved"
        super().__init__(f"stopped after {counted(step, 'step')}; {saved}")
        self.step, self.path = step, path


@checked
def checkpoint(
    directory: str | Path,
    *,
    every: int | None = None,
    best: tuple[str, str] | None = None,
    must_match: Mapping[str, Any] | None = None,
    flush: Sequence[Observer] = (),
    stop: Callable[[int], bool] = lambda step: False,
    say: Callable[[str], None] = say_on_stderr,
) -> Observer:
    """Save the whole state at the end of every epoch, and after `every` steps if that is given.

    The state is copied; the files are written in the background, one checkpoint after the other.
    The newest and the best stay; if the two are one, also the one before. A save that fails, as on
    a full disk, is reported to `say`; the fit continues, and the checkpoint before is still there.

    Args:
        directory: the directory of checkpoints; it is made if need be.
        every: a number of steps, counted over all epochs, from 1 on; None for epochs alone.
        best: a column of the epoch table, and whether its "min" or its "max" is the best epoch's;
            None for the least valid_loss, or for no best where there is no validation.
        must_match: what a restore compares, such as the configuration and the data; saved as JSON.
        flush: observers that write what they still hold before each save.
        stop: is asked after every step, with the number of steps done; if it says yes, the fit is
            saved and ended by `Interrupted`. With several processes it must say the same in all, as
            `jax.experimental.multihost_utils.reached_preemption_sync_point` does.
        say: is given a line about each save that fails; by default it goes to the standard error.

    Raises:
        ImportError: if Orbax is not installed.
        ValueError: if an argument is out of range; when the fit begins, if there will be no such
            column.
        TypeError: when a fit begins, naming a leaf of the state that can't be saved.
        Interrupted: in the fit, when `stop` has said yes.
    """
    _check_arguments(every, best)
    require_orbax()
    writer = _Writer(as_path(directory), dict(must_match or {}), tuple(flush), say)
    saver = _Saver(writer, every, best, stop)
    return Observer(
        {
            "before_fit": saver.before_fit,
            "after_batch": saver.after_batch,
            "after_epoch": saver.after_epoch,
            "after_fit": saver.after_fit,
        },
        watches=best and best[0],
        reads=saver.reads,
        name="checkpoint",
    )


def _check_arguments(every: int | None, best: tuple[str, str] | None) -> None:
    if best is not None and best[1:] not in (("min",), ("max",)):
        raise ValueError(
            f'checkpoint: `best` must be (column, "min") or (column, "max"); got {best!r}. Say'
            " whether a better value is smaller or greater."
        )
    if every is not None and every < 1:
        raise ValueError(f"checkpoint: `every` must be positive; got {every}. Pass 1 or more.")


@dataclass
class _Saver:
    """When to save, and when to end the fit."""

    writer: "_Writer"
    every: int | None
    best: tuple[str, str] | None
    stop: Callable[[int], bool]
    stops_at: int | None = None  # the first step at which `stop` has said yes

    def before_fit(self, report: Report) -> None:
        """Nobody has asked yet for the end of this fit."""
        self.stops_at = None
        self.writer.begin(report)

    def reads(self, step: int) -> bool:
        """Whether to save after this step."""
        if self.stops_at is None and self.stop(step):
            self.stops_at = step
        return self.stops_at is not None or self._is_time(step)

    def _is_time(self, step: int) -> bool:
        return self.every is not None and step % self.every == 0

    def after_batch(self, report: Report) -> None:
        """Save if it is asked for, or if it is time."""
        if self.stops_at == report.step:
            self.writer.end(report, report.step)
        if self._is_time(report.step):
            self.writer.save(report, report.step)

    def after_epoch(self, report: Report) -> None:
        """Save with the score of the epoch."""
        step, row = report.step, dict(report.row or {})
        column, mode = self.best or ("valid_loss", "min")
        self.writer.rows.append(row)
        self.writer.save(report, step, score=row[column] if mode == "max" else -row[column])
        stops = self.stops_at is not None or self.stop(step)
        if stops and report.epoch < report.epochs:
            raise Interrupted(step, self.writer.wait())

    def after_fit(self, report: Report) -> None:
        """Have all on the disk when the fit ends."""
        self.writer.wait()


@dataclass
class _Writer:
    """At most one save under way."""

    directory: Path
    must_match: dict[str, Any]
    flush: tuple[Observer, ...]
    say: Callable[[str], None]
    rows: list[Any] = field(default_factory=list)
    pending: tuple[int, Future[Path]] | None = None

    def begin(self, report: Report) -> None:
        """A new fit, or one that goes on; what a killed process left half-written goes."""
        self.wait()  # for what a fit that raised may still be saving
        self.rows = list(report.history.rows) if report.history else []
        check_leaves(leaves_of(report.state))  # now, not after an epoch
        if jax.process_index() == 0:
            clean(self.directory)

    def save(self, report: Report, step: int, *, score: float | None = None) -> None:
        """Begin to save, when the save before has ended."""
        self.wait()
        about = {"must_match": self.must_match, "rows": self.rows, "score": score}
        for observer in self.flush:
            try:
                observer.flush()
            except OSError as error:
                self.say(
                    f"Warning: metrics could not be written ({_reason(error)}); they are kept, and"
                    " tried again."
                )
        try:
            self.pending = step, start_save(self.directory, report.state, step=step, **about)
        except (OSError, ValueError) as error:
            self._failed(step, error)

    def wait(self) -> Path | None:
        """Wait for the save under way; the path of its checkpoint, or None if it failed."""
        if self.pending is None:
            return None
        (step, future), self.pending = self.pending, None
        try:
            path = future.result()
            if jax.process_index() == 0:
                remove_others(self.directory)
        except Exception as error:  # Orbax raises whatever its parts raise
            self._failed(step, error)
            return None
        return path

    def end(self, report: Report, step: int) -> None:
        """Save and end the fit."""
        self.save(report, step)
        raise Interrupted(step, self.wait())

    def _failed(self, step: int, error: Exception) -> None:
        self.say(
            f"Warning: the checkpoint after {counted(step, 'step')} could not be saved in"
            f" {self.directory} ({_reason(error)}); the run goes on, and what was saved before is"
            " still there."
        )


def _reason(error: Exception) -> str:
    """Why something could not be written, in a few words."""
    full = "No space left" in str(error)
    return "no space left on the disk" if full else " ".join(str(error).split())[:200]
