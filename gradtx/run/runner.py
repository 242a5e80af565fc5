"""A run as a script sees it: fit, or search, with everything that its options ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from gradtx.checkpoint import entries, resume
from gradtx.loop import History, Loop, TrainState, summary
from gradtx.loop.program import flops_in, lowered_step
from gradtx.observers import stop_on_signals
from gradtx.observers.loggers import require
from gradtx.parallel.processes import is_first, say
from gradtx.run.devices import on_mesh
from gradtx.run.directory import config_key, take_directory
from gradtx.run.errors import RunFailed
from gradtx.run.options import RunOptions
from gradtx.run.population import make_search, run_population
from gradtx.run.searches import check_sweep, find_lr, run_sweep
from gradtx.run.sources import BatchSource, first_batch
from gradtx.run.training import (
    begin_new,
    describe_run,
    observers_for,
    report,
    unsaved,
)

MOST_STEPS = 2**31


class Summarized(Exception):
    """A run that was to print a summary alone has done so."""


class Runner:
    """One run of a script, as `launch` hands it to the script's own function.

    That function calls one of `fit`, `find_lr`, `sweep` and `search`, once. Until then nothing has
    been written; the call makes the directory, `out`, puts the state and the batches on the devices
    of the run, and writes config.json before it begins.

    Args:
        options: the options of the run.
        mesh: the devices, as `mesh_for` makes it; None for one device.
        resuming: whether the run in `options.out` goes on.
    """

    def __init__(  # noqa: D107
        self, options: RunOptions, *, mesh: Mesh | None = None, resuming: bool = False
    ) -> None:
        self.options, self.mesh, self.resuming = options, mesh, resuming
        self.out: Path | None = None  # once the run has begun
        self.written: list[str] = []
        self.missing: list[str] = []  # what should be on the disk and is not
        self._let_go: Callable[[], None] = lambda: None

    def fit(
        self,
        recipe: Callable[..., tuple[TrainState, History]],
        loop: Loop,
        state: TrainState,
        source: BatchSource,
        **arguments: Any,
    ) -> History:
        """Train by a recipe, with all that a run adds to it.

            recipe(loop, state, source.train, source.valid, epochs=options.epochs, **arguments)

        To that come the observers of a run (progress, metrics.jsonl, event files, those of `--log`,
        checkpoints), an orderly end at a signal, and `--resume`; at the end faults.json and
        report.html.

        Args:
            recipe: `gradtx.loop.fit`, or a function called like it, as those of `gradtx.recipes`.
            loop: the loop.
            state: its first state, which is used up.
            source: the batches.
            **arguments: further arguments of the recipe, such as its learning rate.

        Returns:
            The history of the fit, from the first epoch on.

        Raises:
            ValueError: before anything is written, if a logger's client can't be imported.
            RunFailed: if the losses did not stay finite; all is written, too.
            Interrupted: after a signal, when the checkpoint has been saved.
        """
        _check_loggers(self.options)
        state, source, out = self._begin(loop, state, source)
        must_match = {"config": config_key(self.options), "data": source.fingerprint}
        arguments |= {"epochs": self.options.epochs, "donate": True}
        arguments["steps_per_execution"] = self.options.steps_per_execution or "auto"
        if self.resuming:
            arguments["resume"] = resume(out / "checkpoints", must_match=must_match, say=say)
        with stop_on_signals() as stop:
            saving = {"must_match": must_match, "stop": stop}
            saving["flops"] = lambda: flops_in(lowered_step(loop, state, first_batch(source)))
            observers = observers_for(self.options, loop, source.steps, out, self.missing, **saving)
            state, history = recipe(
                loop, state, source.train, source.valid, observers=observers, **arguments
            )
        reported = report(loop, state, source, out, self.missing) if is_first() else []
        if problem := loop.failure(state):
            raise RunFailed(f"{problem}; lower the learning rate. See {out}.")
        self.missing += unsaved(state, out) if is_first() else []
        metrics = "metrics.jsonl (every step and epoch)"
        tables = ["steps.csv, epochs.csv, run.csv"] if "csv" in (self.options.log or ()) else []
        self.written += [metrics, "tensorboard", *tables, *reported]
        self.written += ["checkpoints (newest and best)"] if entries(out / "checkpoints") else []
        return history

    def find_lr(self, loop: Loop, state: TrainState, source: BatchSource) -> None:
        """Search for a learning rate instead, on a copy: prints advice, leaves lr_find.png.

        The last line is the command that trains with the rate that is recommended, if the options
        have one called `lr` or `learning_rate`.

        Args:
            loop: the loop.
            state: its first state.
            source: the batches.

        Raises:
            RunFailed: if the losses say nothing.
        """
        state, source, out = self._begin(loop, state, source)
        self.written += find_lr(self.options, loop, state, source, out)

    def sweep(self, loop: Loop, state: TrainState, source: BatchSource) -> None:
        """Train the copies of `--sweep` instead: prints a table, leaves sweep.json and sweep.png.

        Args:
            loop: the loop.
            state: its first state.
            source: the batches; it must have `arrays`.

        Raises:
            ValueError: before anything is written, if the source or the optimizer can't be swept
                as the options say.
            RunFailed: if no copy's loss stayed finite.
        """
        check_sweep(self.options, state, source)
        state, source, out = self._begin(loop, state, source)
        self.written += run_sweep(self.options, loop, state, source, out)

    def search(self, loop: Loop, state: TrainState, source: BatchSource) -> None:
        """Search as the options say: `find_lr`, `sweep`, or by the population of `--search`.

        The last prints a line a round and a table, and leaves lineage.json, checkpoints of the
        whole search, and its best member as a run of its own, in `best`; it goes on by `--resume`.

        Args:
            loop: the loop.
            state: its first state.
            source: the batches; for a population it must have `arrays`.

        Raises:
            ValueError: before anything is written, if the source or the optimizer can't be searched
                over as the options say.
            RunFailed: if the losses say nothing, or no member's stayed finite.
            Interrupted: after a signal, when a population's round is over and saved.
        """
        if self.options.find_lr:
            return self.find_lr(loop, state, source)
        if self.options.sweep:
            return self.sweep(loop, state, source)
        made = make_search(self.options, loop, state, source)
        state, source, out = self._begin(loop, state, source)
        how: Any = {"resuming": self.resuming, "missing": self.missing}
        self.written += run_population(made, self.options, loop, state, source, out, **how)

    def close(self) -> None:
        """Let go of the directory; another run may go on in it."""
        self._let_go()
        self._let_go = lambda: None

    def _begin(
        self, loop: Loop, state: TrainState, source: BatchSource
    ) -> tuple[TrainState, BatchSource, Path]:
        """The run's own first state and batches, and its directory, in which it is described."""
        _check_steps(self.options, source)
        if self.options.summary:
            state, source = on_mesh(state, source, self.mesh)
            say(str(summary(loop, state, first_batch(source))))
            raise Summarized
        self.out, self._let_go = take_directory(self.options, resuming=self.resuming)
        out = self.out
        state, source = on_mesh(state, source, self.mesh)
        if not self.resuming:
            state = begin_new(self.options, loop, state, out)
        if is_first():
            self.written += describe_run(self.options, state, source, out, resuming=self.resuming)
        return state, source, out


def _check_loggers(options: RunOptions) -> None:
    try:
        require(options.log or () if is_first() else ())
    except ImportError as error:
        raise ValueError(f"{options.PROG}: `--log` must name loggers that work; {error}") from error


def _check_steps(options: RunOptions, source: BatchSource) -> None:
    """Steps are counted in 32 bits."""
    if options.epochs * source.steps >= MOST_STEPS:
        raise ValueError(
            f"{options.PROG}: `--epochs` times the steps of an epoch must be below {MOST_STEPS:,};"
            f" got {options.epochs:,} times {source.steps:,}. Lower it."
        )
