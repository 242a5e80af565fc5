"""The options that every kind of run has; a script adds its own in a subclass."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from gradtx.config import check_ranges, command, flag, option
from gradtx.observers.loggers import Name
from gradtx.parallel.mesh import parse_mesh
from gradtx.parallel.processes import check_processes
from gradtx.run.search_options import SearchOptions

AUTO = 0  # what `--batch-size auto` stands for
# What searches ignore.
SEARCHING = ("save_every", "steps_per_execution", "log_gradient_norm", "health", "profile", "log")
# What `--help` shows together: an example, and the fields.
GROUPS = {
    "run": (
        "%(prog)s --out runs/first --epochs 5; then %(prog)s --resume runs/first",
        (
            *("epochs", "batch_size", "seed", "precision", "nonfinite", "log_gradient_norm"),
            *("health", "deterministic", "microbatches", "remat", "profile", "log", "save_every"),
            *("limit_batches", "out", "config", "resume", "params_only", "summary"),
        ),
    ),
    "search": (
        "%(prog)s --search pbt --over lr=1e-4:1e-1 weight_decay=0,0.01,0.1",
        ("find_lr", "sweep", "search", "over", "members", "rounds"),
    ),
    "devices": (
        "%(prog)s --mesh data=4,fsdp=2",
        (
            *("steps_per_execution", "mesh", "coordinator", "processes", "process_id"),
            *("distributed", "join_timeout"),
        ),
    ),
}


@dataclass(frozen=True)
class RunOptions(SearchOptions):
    """What decides a run, whatever is trained; it is saved beside the metrics.

    A subclass is a frozen dataclass too, with more fields by `gradtx.config.option`. Its `PROG` is
    the script's name, with which every message begins.

    Args:
        epochs: passes over the training data.
        batch_size: examples a step, of all processes together; 0, on the command line "auto": as
            many as fit, a power of two a device.
        seed: of initialization, order, augmentation and dropout, in [0, 2**32).
        precision: "f32", "bf16" or "f16", of the model's arithmetic.
        nonfinite: at a loss that is not finite, "stop" the run or "skip" the batch.
        log_gradient_norm: whether every step's log has the gradient's norm.
        health: measure every layer at each so many steps, see `gradtx.hooks.layer_health`; None:
            at none.
        deterministic: whether a GPU must give the same bits in each run, which costs time.
        microbatches: in how many parts a batch goes through the model, for the memory of one.
        remat: whether the model is computed once more for the gradient, to keep less.
        profile: how many steps to trace by `jax.profiler`; None: none.
        log: the names of loggers beside metrics.jsonl and event files, which are always written.
        find_lr: this and the others up to `rounds` are those of `SearchOptions`.
        sweep: see there.
        search: see there.
        over: see there.
        members: see there.
        rounds: see there.
        save_every: steps from one checkpoint to the next; None: one at the end of each epoch.
        steps_per_execution: the most steps in one program; None: 1 on a CPU, else what memory
            allows.
        out: the directory of the run; None: one in runs/, named by the model, the data and the
            time.
        config: a file with options: the config.json of a run, or TOML; the command line goes
            before it.
        resume: the directory of a run to go on with, or to take parameters from.
        params_only: with `resume`: a new run, from that one's parameters alone.
        summary: whether to print what would be trained, as `gradtx.loop.summary` says, and end.
        mesh: "data=N,fsdp=M", the devices; None: one, or those of all processes as data.
        coordinator: HOST:PORT of process 0, if there are several processes.
        processes: how many there are.
        process_id: which one this is, from 0.
        distributed: "auto": find the processes as JAX does; "off": there is only this one; None:
            find them under srun alone.
        join_timeout: how many seconds the processes wait for each other.
        limit_batches: the most batches of an epoch and of a validation, to try something.

    Raises:
        ValueError: if a value is out of range, or two do not go together.
    """

    PROG: ClassVar[str] = "train.py"
    GROUPS: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = GROUPS

    epochs: int = option(3, "passes over the training data", least=1, below=2**31)
    batch_size: int = option(
        32,
        "examples a step; auto: the largest power of two whose step fits an accelerator's memory",
        least=1,
        below=2**31,
        words={"auto": AUTO},
    )
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
    health: int | None = option(
        None,
        "measure every layer at each so many steps: norms, what each part of the optimizer does,"
        " counts at each ten times as many; warn of what does not move",
        least=1,
        below=2**27,
    )
    deterministic: bool = option(
        False, "on a GPU: the same bits in each run, at some cost (elsewhere they are anyway)"
    )
    microbatches: int = option(
        1, "parts of a batch that go through the model one by one, for less memory", least=1
    )
    remat: bool = option(False, "compute the model once more for its gradient, for less memory")
    profile: int | None = option(
        None,
        "trace so many steps by jax.profiler, into OUT/profile, and say what took the time",
        least=1,
        below=2**15,
        resumable=False,
        overridable=True,
    )
    log: tuple[Name, ...] | None = option(
        None,
        "log to these too, each by its own client",
        overridable=True,
    )
    save_every: int | None = option(
        None, "a checkpoint after so many steps, not only each epoch", least=1, below=2**31
    )
    steps_per_execution: int | None = option(
        None,
        "the most steps in one program (default: 1 on a CPU, else what memory allows)",
        least=1,
        below=2**15,
        overridable=True,
    )
    out: Path | None = option(
        None, "where to write (default: runs/MODEL-DATA-TIME)", resumable=False
    )
    config: Path | None = option(
        None,
        "take the options of this file: a run's config.json, or TOML; others of the command line"
        " go before it",
        resumable=False,
    )
    resume: Path | None = option(
        None,
        "go on with the run in this directory, as it was begun",
        resumable=False,
        overridable=True,
    )
    params_only: bool = option(
        False, "with --resume: a new run, from that one's parameters alone", resumable=False
    )
    summary: bool = option(
        False,
        "print the layers, sizes of parameters, moments and the like, operations and memory of a"
        " step, and end",
        resumable=False,
        overridable=True,
    )
    mesh: str | None = option(
        None,
        "data=N,fsdp=M: split batches over N x M devices, parameters and moments over M",
        resumable=False,
        overridable=True,
    )
    coordinator: str | None = option(
        None,
        "HOST:PORT of process 0, if there are several processes",
        resumable=False,
        overridable=True,
    )
    processes: int | None = option(None, "how many there are", resumable=False, overridable=True)
    process_id: int | None = option(
        None, "which one this is, from 0", resumable=False, overridable=True
    )
    distributed: Literal["auto", "off"] | None = option(
        None,
        "auto: find the processes as JAX does (TPU pod, MPI); by default under srun alone",
        resumable=False,
        overridable=True,
    )
    join_timeout: int = option(
        300,
        "seconds that the processes wait for each other",
        least=1,
        below=2**31,
        resumable=False,
        overridable=True,
    )
    limit_batches: int | None = option(
        None, "for tests: end each epoch after so many batches", least=1, below=2**31
    )

    def __post_init__(self) -> None:
        """Raise an error for values that are out of range or do not go together."""
        check_ranges(self, self.PROG)
        if self.batch_size % self.microbatches:
            raise ValueError(
                f"{self.PROG}: `--microbatches` must divide `--batch-size`; got"
                f" {self.microbatches} for {self.batch_size}. Change one of them."
            )
        check_processes(**self.processes_named, where=f"{self.PROG}: --")
        if self.mesh is not None:
            parse_mesh(self.mesh, f"{self.PROG}: --mesh")
        self.check_search()
        if self.config is not None and self.resume is not None:
            raise ValueError(
                f"{self.PROG}: `--resume` takes all options from the run; got `--config` too. Leave"
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

    def command(self, **changes: Any) -> str:
        """The command line that makes such a run again, to be copied.

        It leaves out where the run is, and what its kind of run has no use for.

        Args:
            **changes: values of options in the place of these.
        """
        made = replace(self, **changes)
        unused = {name for names in made.ignored.values() for name in names}
        # Parameters of another run are part of what is made; without them it would go on.
        where = {"out", "config"} if made.params_only else {"out", "config", "resume"}
        return command(made, prog=self.PROG, without={*unused, *where})

    @property
    def rate(self) -> tuple[float, str]:
        """What a step gets through, and what to call it a second."""
        return self.batch_size, "examples/s"

    @property
    def processes_named(self) -> dict[str, Any]:
        """The processes of the job, as `join` and `check_processes` take them."""
        names = ("coordinator", "processes", "process_id")
        return {name: getattr(self, name) for name in names}

    @property
    def shared(self) -> dict[str, str]:
        """What must be the same in all processes of a job: all that is not about this one."""
        own = ("coordinator", "processes", "process_id", "join_timeout")
        names = [field.name for field in fields(self) if field.name not in own]
        return {flag(name): str(getattr(self, name)) for name in names}

    @property
    def ignored(self) -> dict[str, tuple[str, ...]]:
        """The fields that this kind of run ignores, by what makes it ignore them."""
        found: dict[str, tuple[str, ...]] = {}
        if self.varied is not None:
            kind, names = self.varied
            found[kind] = (*SEARCHING, *names)
        if self.find_lr:
            found["--find-lr"] = (*SEARCHING, "epochs")
        if self.coordinator is not None:
            found["--coordinator"] = ("distributed",)
        return found
