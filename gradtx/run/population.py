"""The search by a population: its rounds, its files, and its best member as a run of its own."""

import shlex
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from gradtx.checkpoint import clean, entries, resume, save
from gradtx.checkpoint.retention import remove_others
from gradtx.config import invocation
from gradtx.core.runtime_hyperparams import names_with_role
from gradtx.loop import Loop, TrainState
from gradtx.observers import Interrupted, stop_on_signals
from gradtx.observers.table import format_number, format_time
from gradtx.parallel.processes import say
from gradtx.report.page import write_report
from gradtx.run.directory import BEST, config_key
from gradtx.run.errors import RunFailed, short
from gradtx.run.options import RunOptions
from gradtx.run.searches import check_arrays, data_of, how_of
from gradtx.run.sources import BatchSource
from gradtx.run.training import describe_run
from gradtx.sealed import write_json
from gradtx.tuning import (
    Search,
    SearchState,
    begin_search,
    best_index,
    best_member,
    lineage_entries,
    population_based_training,
    run_search,
    successive_halving,
)

MEMBERS, ROUNDS = 8, 10
KINDS = {"pbt": population_based_training, "halving": successive_halving}
LINEAGE = "lineage.json"


class Made(NamedTuple):
    """A search that the options ask for, before anything is written."""

    search: Search
    names: tuple[str, ...]  # what the command line calls the dimensions of its space
    rounds: int
    steps: int  # batches of a round


def make_search(options: RunOptions, loop: Loop, state: TrainState, source: BatchSource) -> Made:
    """The search of `--search` and `--over`.

    Raises:
        ValueError: if it can't be made of this optimizer, or of data that are not arrays, or if
            there are fewer steps than rounds.
    """
    check_arrays(options, source, "--search")
    space = {_own(state, name): prior for name, prior in options.searched.values()}
    steps = options.epochs * source.steps
    rounds = options.rounds or min(ROUNDS, steps)
    if steps < rounds:
        raise ValueError(
            f"{options.PROG}: `--rounds` must be at most the steps of all epochs, {steps:,}; got"
            f" {rounds:,}. Lower it, or raise --epochs."
        )
    made = KINDS[str(options.search)](space, members=options.members or MEMBERS)
    jax.eval_shape(partial(begin_search, made, loop, rounds=rounds), state)  # checks the space
    return Made(made, tuple(options.space), rounds, steps // rounds)


def _own(state: TrainState, name: str) -> str:
    """The optimizer's name; momentum is what it declares as that, whatever it is called there."""
    names = names_with_role(state.opt_state, "momentum") if name == "momentum" else []
    return names[0] if len(names) == 1 else name


def run_population(
    made: Made,
    options: RunOptions,
    loop: Loop,
    state: TrainState,
    source: BatchSource,
    out: Path,
    *,
    resuming: bool,
    missing: list[str],
) -> list[str]:
    """Search, from the beginning or from the newest checkpoint; returns the files' names.

    After each round all is on the disk, and a signal ends the search there. What can't be written
    at the end is noted in `missing`.

    Raises:
        Interrupted: after a signal, when the round is over and saved.
        RunFailed: if no member's loss stayed finite.
    """
    train, orders, valid, valid_order = data_of(options, source)
    steps = orders.reshape(-1, orders.shape[-1])[: made.rounds * made.steps]
    orders = steps.reshape(made.rounds, made.steps, -1)
    must_match = {"config": config_key(options), "data": source.fingerprint}
    searching = begin_search(made.search, loop, state, rounds=made.rounds, seed=options.seed)
    if resuming:
        begin: Any = resume(out / "checkpoints", must_match=must_match, say=say)
        searching, _ = begin(searching)
    clean(out / "checkpoints")
    with stop_on_signals() as stop:
        told = _Told(made.search, out, must_match, stop)
        told.begin(searching)
        searching = run_search(
            made.search,
            loop,
            searching,
            *jax.device_put((train, orders, valid, valid_order)),
            how=how_of(state),
            mesh=members_mesh(made.search.members),
            each=told.round,
        )
    print(_table(made, searching))
    written = [LINEAGE, "checkpoints (of the whole search)"]
    try:
        write_report(out)
        written.append("report.html")
    except (OSError, ValueError) as error:  # the search is over, and counts
        missing.append(f"report.html ({short(str(error))})")
    if best_index(made.search, searching) is None:
        raise RunFailed(f"no member's loss stayed finite; lower --over. See {out}.")
    _leave_best(made, options, loop, searching, source, out)
    return [*written, f"{BEST}/ (the best member, as a run)"]


def members_mesh(members: int) -> Mesh | None:
    """As many of this machine's devices as divide the members, for an axis of them.

    None if that is one.

    Args:
        members: of the population.
    """
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if members % n == 0)
    if count == 1:
        return None
    return jax.make_mesh((count,), ("members",), devices=devices[:count])


@dataclass
class _Told:
    """What is written and said after each round."""

    search: Search
    out: Path
    must_match: dict[str, Any]
    stop: Any
    since: float = 0.0

    def begin(self, searching: SearchState) -> None:
        """The head of the table, and the rounds that are done already."""
        metric = self.search.watch.metric
        print(
            f"{'round':>5}  {'step':>7}  {f'best {metric}':>16}  {'median':>10}  {'new':>4}  time"
        )
        for index in range(int(searching.round)):
            print(self._line(searching, index))
        self.since = time.perf_counter()

    def round(self, searching: SearchState) -> None:
        """Save the search, then its lineage, and print a line.

        Raises:
            Interrupted: if a signal has asked for the end.
        """
        index = int(searching.round) - 1
        step = int(searching.lineage.steps[index])
        path = self._save(searching, step)
        write_json(self.out / LINEAGE, lineage_entries(self.search, searching))
        now = time.perf_counter()
        print(f"{self._line(searching, index)}  {format_time(now - self.since)}", flush=True)
        self.since = now
        if self.stop(step) and index + 1 < searching.lineage.rounds:
            raise Interrupted(step, path)

    def _save(self, searching: SearchState, step: int) -> Path | None:
        directory = self.out / "checkpoints"
        try:
            path = save(directory, searching, step=step, must_match=self.must_match)
            remove_others(directory)
        except OSError as error:
            say(f"Warning: the checkpoint after {step:,} steps could not be saved ({error}).")
            return None
        return path

    def _line(self, searching: SearchState, index: int) -> str:
        row = jax.device_get(searching.lineage.row(index))
        scores = row.scores[row.counts] if row.counts.any() else np.array([np.nan])
        best = scores.min() if self.search.watch.mode == "min" else scores.max()
        figures = [format_number(float(x)) for x in (best, np.median(scores))]
        new = int((row.parents != np.arange(row.parents.size)).sum())
        return f"{index:5}  {int(row.steps):7,}  {figures[0]:>16}  {figures[1]:>10}  {new:4}"


def _table(made: Made, searching: SearchState) -> str:
    """A line for each member: its hyperparameters, its score, and the rounds of its weights."""
    row = jax.device_get(searching.lineage.row(int(searching.round) - 1))
    best = best_index(made.search, searching)
    heads = ["member", *made.names, made.search.watch.metric, "rounds"]
    lines = ["  ".join(f"{head:>13}" for head in heads)]
    for i in range(made.search.members):
        values = [f"{row.values[label][i]:.4g}" for label in made.search.space.labels]
        score = format_number(float(row.scores[i]) if row.counts[i] else np.nan)
        cells = [str(i), *values, score, str(row.ages[i])]
        lines.append("  ".join(f"{cell:>13}" for cell in cells) + "  <- best" * (i == best))
    return "\n".join(lines)


def _leave_best(
    made: Made,
    options: RunOptions,
    loop: Loop,
    searching: SearchState,
    source: BatchSource,
    out: Path,
) -> None:
    """Write the best member's state as the checkpoint of a run; say how to use it."""
    best = best_index(made.search, searching)
    row = jax.device_get(searching.lineage.row(searching.lineage.rounds - 1))
    found = {
        name: float(str(row.values[label][best]))  # the shortest number that is this float32
        for name, label in zip(made.names, made.search.space.labels, strict=True)
    }
    run = out / BEST
    training = replace(options.training_with(found), out=run, resume=None, params_only=False)
    if not entries(run / "checkpoints"):  # else it is there, and may have been trained further
        state = best_member(made.search, loop, searching)
        run.mkdir(exist_ok=True)
        describe_run(training, state, source, run, resuming=False)
        must_match = {"config": config_key(training), "data": source.fingerprint}
        save(run / "checkpoints", state, step=int(state.step), must_match=must_match)
    values = ", ".join(f"{name}={value:.4g}" for name, value in found.items())
    again = f"{invocation(options.PROG)} --resume {shlex.quote(str(run))}"
    print(f"Best: member {best}, now with {values}. To train it further: {again}")
    print(f"To train with these numbers from the beginning: {training.command()}")
