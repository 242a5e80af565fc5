"""Metrics for Weights & Biases."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from gradtx.kinds import checked
from gradtx.loop import Loop, Observer
from gradtx.observers.histogram import edges_of
from gradtx.observers.logged import observed, package
from gradtx.observers.logger import End, Opening, Record
from gradtx.output import say_on_stderr

EXIT = {"finished": 0, "failed": 1, "interrupted": 255}


@checked
def wandb(
    directory: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    loop: Loop | None = None,
    say: Callable[[str], None] = say_on_stderr,
    **init: Any,
) -> Observer:
    """Log to Weights & Biases: its own client does it, as its environment variables say.

    The names are those of the event files: `step/loss`, `step/learning_rate/GROUP`,
    `epoch/valid_loss`; W&B's step is the number of steps done. The summary has at the end `status`,
    `reason` and `faults/KIND`. Without a network set WANDB_MODE=offline; `wandb sync` sends later
    what is in DIRECTORY/wandb.

    No failure of a logger ends a training: records go through a thread of its own. What fails is
    said once, kept, and tried again after 1, 2, 4, ... and at most 60 seconds; the run is opened
    anew then, with its id. At the end there is a last try. The fit waits for a logger at most 30
    seconds when it begins, before a checkpoint and at its end. What a client takes without an error
    and then loses, is lost.

    A fit that goes on, also in another process, goes on with the same run, whose id is in
    DIRECTORY/loggers/; what is logged already does not come again. Of several processes the first
    one logs alone.

    Args:
        directory: of the run, whose name the W&B run gets.
        config: the hyperparameters of the run, by name.
        loop: whose faults and failure are told at the end.
        say: is given lines about what fails; by default they go to the standard error.
        **init: further arguments of `wandb.init`, such as `project`, by default WANDB_PROJECT or
            "gradtx".

    Raises:
        ImportError: if wandb can't be imported.
    """
    logger = _Wandb(package("wandb"), init)
    return observed(logger, "wandb", directory, config=config or {}, loop=loop, say=say)


class _Wandb:
    def __init__(self, client: Any, init: Mapping[str, Any]) -> None:
        self.client, self.init = client, dict(init)

    def open(self, opening: Opening) -> dict[str, Any]:
        note = opening.note or {"id": uuid4().hex[:8]}
        while int(time.time()) <= note.get("opened", 0):  # W&B names files by the second
            time.sleep(0.05)
        arguments = {
            "project": os.environ.get("WANDB_PROJECT", "gradtx"),
            "name": opening.directory.resolve().name,
            "dir": str(opening.directory),
            "config": dict(opening.config),
            "id": note["id"],
            "resume": "allow",
            # A run of the user's own in this process stays as it is.
            "reinit": "create_new",
            "settings": self.client.Settings(console="off", quiet=True),
        }
        opening.directory.mkdir(parents=True, exist_ok=True)
        with self._service():
            self.run = self.client.init(**(arguments | self.init))
            self.run.define_metric("step", hidden=True)
            self.run.define_metric("*", step_metric="step")
        return {**note, "opened": int(time.time())}

    @contextmanager
    def _service(self) -> Iterator[None]:
        """Let go of W&B's own process if that is gone: the next `init` then starts another."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, TypeError | ValueError | self.client.Error):
                with suppress(Exception):
                    self.client.teardown()
            raise

    def log(self, records: Sequence[Record]) -> None:
        for record in records:
            values = {name: self._value(name, value) for name, value in record.values.items()}
            with self._service():
                # W&B drops what is before its own step.
                own = max(record.step, int(self.run.step))
                self.run.log({**values, "step": record.step}, step=own)

    def _value(self, name: str, value: Any) -> Any:
        edges = edges_of(name, value)
        return value if edges is None else self.client.Histogram(np_histogram=(value, edges))

    def close(self, end: End) -> None:
        faults = {f"faults/{kind}": count for kind, count in end.faults.items()}
        with self._service():
            self.run.summary.update({"status": end.status, "reason": end.reason, **faults})
            self.run.finish(exit_code=EXIT[end.status])
