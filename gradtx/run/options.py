"""The options that every kind of run has; a script adds its own in a subclass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from gradtx.config import check_ranges, option
from gradtx.parallel.mesh import parse_mesh
from gradtx.parallel.processes import check_processes
from gradtx.tuning.sweep import parse_spread


@dataclass(frozen=True)
class RunOptions:
    """What decides a run, whatever is trained; it is saved beside the metrics.

    A subclass is a frozen dataclass too, with more fields by `gradtx.config.option`. `PROG` is the
    script's name, with which every message begins.
    """

    PROG: ClassVar[str] = "train.py"

    epochs: int = option(3, "passes over the training data", least=1, below=2**31)
    batch_size: int = option(32, "examples a step", least=1, below=2**31)
    seed: int = option(
        0, "of initialization, order, augmentation and dropout", least=0, below=2**32
    )
    precision: Literal["f32", "bf16", "f16"] = option(
        "f32", "of the model's arithmetic; parameters are float32"
    )
    nonfinite: Literal["stop", "skip"] = option(
        "stop", "at a loss that is not finite: end the run, or skip the batch (also for gradients)"
    )
    log_gradient_norm: bool = option(False, "write the gradient's norm at every step")
    find_lr: bool = option(False, "raise the learning rate step by step, plot the losses, and stop")
    sweep: str | None = option(
        None,
        "NAME=LOW:HIGH:N: train N copies of a small model in one program, with the hyperparameter"
        " NAME spread geometrically; constant otherwise, no augmentation",
    )
    save_every: int | None = option(
        None, "a checkpoint after so many steps, not only each epoch", least=1
    )
    out: Path | None = option(None, "where to write (default: runs/MODEL-DATA-TIME)", kept=False)
    resume: Path | None = option(
        None, "go on with the run in this directory, as it was begun", kept=False, free=True
    )
    params_only: bool = option(
        False, "with --resume: a new run, from that one's parameters alone", kept=False
    )
    mesh: str | None = option(
        None,
        "data=N,fsdp=M: split batches over N x M devices, parameters and moments over M",
        kept=False,
        free=True,
    )
    coordinator: str | None = option(
        None, "HOST:PORT of process 0, if there are several processes", kept=False, free=True
    )
    processes: int | None = option(None, "how many there are", kept=False, free=True)
    process_id: int | None = option(None, "which one this is, from 0", kept=False, free=True)
    distributed: Literal["auto", "off"] | None = option(
        None,
        "auto: find the processes as JAX does (TPU pod, MPI); by default under srun alone",
        kept=False,
        free=True,
    )
    limit_batches: int | None = option(
        None, "for tests: end each epoch after so many batches", least=1
    )

    def __post_init__(self) -> None:
        """Raise an error for values that are out of range or do not go together."""
        check_ranges(self, self.PROG)
        check_processes(**self.processes_named, where=f"{self.PROG}: --")
        if self.mesh is not None:
            parse_mesh(self.mesh, f"{self.PROG}: --mesh")
        if self.sweep is not None:
            parse_spread(self.sweep, f"{self.PROG}: --sweep")
            if self.find_lr:
                raise ValueError(
                    f"{self.PROG}: `--sweep` and `--find-lr` are two kinds of runs; got both. Leave"
                    " either out."
                )
        if self.params_only and self.resume is None:
            raise ValueError(
                f"{self.PROG}: `--params-only` needs the run whose parameters to take; got none."
                " Add `--resume RUN`."
            )

    @property
    def name(self) -> str:
        """What the run's directory is called by default, before the time."""
        return Path(self.PROG).stem

    @property
    def processes_named(self) -> dict[str, Any]:
        """The processes of the job, as `join` and `check_processes` take them."""
        names = ("coordinator", "processes", "process_id")
        return {name: getattr(self, name) for name in names}

    @property
    def idle(self) -> dict[str, tuple[str, ...]]:
        """The fields that this kind of run does not heed, by what makes them so."""
        found: dict[str, tuple[str, ...]] = {}
        if self.sweep is not None:
            found["--sweep"] = ("save_every", parse_spread(self.sweep)[0])
        if self.find_lr:
            found["--find-lr"] = ("epochs", "save_every")
        return found

    @property
    def swept(self) -> tuple[str, np.ndarray]:
        """The name of the sweep's hyperparameter, and its values."""
        return parse_spread(self.sweep or "")

    @property
    def settings(self) -> dict[str, Any]:
        """The same as `gradtx.tuning.sweep` takes them."""
        name, values = self.swept
        return {name: values}
