"""Metrics for Trackio."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from gradtx.kinds import checked
from gradtx.loop import Loop, Observer
from gradtx.observers.logged import observed, package
from gradtx.observers.logger import End, Opening, Record
from gradtx.output import say_on_stderr


@checked
def trackio(
    directory: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    loop: Loop | None = None,
    say: Callable[[str], None] = say_on_stderr,
    **init: Any,
) -> Observer:
    """Log to Trackio: its own client does it, by default into files in TRACKIO_DIR.

    Names and steps are those of `gradtx.observers.wandb`, where it is said too what becomes of what
    fails, and of a fit that goes on. The last entry has `status` and `faults/KIND`.

    Args:
        directory: of the run, with whose name that of the Trackio run begins.
        config: the hyperparameters of the run, by name.
        loop: whose faults and failure are told at the end.
        say: is given lines about what fails; by default they go to the standard error.
        **init: further arguments of `trackio.init`, such as `project`, by default "gradtx".

    Raises:
        ImportError: if trackio can't be imported.
    """
    logger = _Trackio(package("trackio"), init)
    return observed(logger, "trackio", directory, config=config or {}, loop=loop, say=say)


class _Trackio:
    def __init__(self, client: Any, init: Mapping[str, Any]) -> None:
        self.client, self.init = client, dict(init)

    def open(self, opening: Opening) -> dict[str, Any]:
        name = f"{opening.directory.resolve().name}-{uuid4().hex[:8]}"
        note = opening.note or {"id": name}
        arguments = {
            "project": "gradtx",
            "name": note["id"],  # Trackio finds a run again by its name
            "config": dict(opening.config),
            "resume": "allow",
            "embed": False,
            "auto_log_cpu": False,
            "auto_log_gpu": False,
        }
        self.run = self.client.init(**(arguments | self.init))
        return note

    def log(self, records: Sequence[Record]) -> None:
        for record in records:
            self.run.log(record.values, step=record.step)

    def close(self, end: End) -> None:
        faults = {f"faults/{kind}": count for kind, count in end.faults.items()}
        self.run.log({"status": end.status, "reason": end.reason, **faults}, step=end.step)
        self.run.finish()
