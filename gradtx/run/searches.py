"""Searches for a hyperparameter, with what they leave in the run's directory."""

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradtx.core.runtime_hyperparams import names_with_role
from gradtx.loop import Loop, TrainState, epoch_order
from gradtx.report.plots import plot_lr_find
from gradtx.report.sweep import write_sweep
from gradtx.run.artifacts import unless_missing
from gradtx.run.errors import RunFailed
from gradtx.run.options import RunOptions
from gradtx.run.sources import BatchSource
from gradtx.tuning.lr_find import lr_find
from gradtx.tuning.sweep import padded_order, spread, sweep

LARGE = 1_000_000  # parameters; on a CPU, copies of larger models are trained one by one


def find_lr(
    options: RunOptions, loop: Loop, state: TrainState, source: BatchSource, out: Path
) -> list[str]:
    """Raise the learning rate on a copy of the state; print suggestions and advice, and plot.

    Raises:
        RunFailed: as `lr_find` raises a ValueError.
    """
    try:
        found = lr_find(loop, state, source.train)
    except ValueError as error:
        raise RunFailed(error) from error
    print(found)
    if found.recommended is not None and (command := training_with(options, found.recommended)):
        print(f"To train with it: {command}")
    return unless_missing("lr_find.png", lambda: plot_lr_find(found, out / "lr_find.png"))


def training_with(options: RunOptions, rate: float) -> str | None:
    """The command line of the training that a search was for, with the rate that it found.

    None for a script whose options have no rate by a name that is known here.
    """
    known = {field.name for field in fields(options)}
    names = [name for name in ("lr", "learning_rate") if name in known]
    if not names:
        return None
    return options.command(find_lr=False, **{names[0]: float(f"{rate:.3g}")})


def check_sweep(options: RunOptions, state: TrainState, source: BatchSource) -> None:
    """Refuse, before anything is written, a sweep that can't be made as the options say.

    Raises:
        ValueError: if the source can't give its data as arrays, or as `spread`.
    """
    check_arrays(options, source, "--sweep")
    spread(state.opt_state, **_swept(options, state)[1])


def check_arrays(options: RunOptions, source: BatchSource, kind: str) -> None:
    """Refuse a source that can't give its data as arrays.

    Raises:
        ValueError: naming `kind`, the option that needs them.
    """
    if source.arrays is None:
        raise ValueError(
            f"{options.PROG}: `{kind}` needs data that fit on the device; got a source without"
            " `arrays`. Leave it out."
        )


def data_of(options: RunOptions, source: BatchSource) -> tuple[Any, jax.Array, Any, np.ndarray]:
    """The training data, the orders of all epochs, the validation data and its order.

    The orders are int32[epochs, steps, B].
    """
    arrays_of = source.arrays
    assert arrays_of is not None, "check_arrays comes first"
    train = arrays_of("train")
    order = partial(epoch_order, examples=len(train["label"]), batch_size=options.batch_size)
    orders = jax.vmap(order)(jax.random.split(jax.random.key(options.seed), options.epochs))
    valid, valid_order = padded_order(arrays_of("valid"), batch_size=options.batch_size)
    return train, orders[:, : source.steps], valid, valid_order[: options.limit_batches]


def how_of(state: TrainState) -> str:
    """How copies of a state are trained: one by one, if they are large and on a CPU."""
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    return "map" if size > LARGE and jax.default_backend() == "cpu" else "vmap"


def _swept(options: RunOptions, state: TrainState) -> tuple[str, dict[str, Any]]:
    """The optimizer's name for what is swept, and `spread`'s arguments.

    Momentum is what the optimizer declares as it, whatever it is called there.
    """
    name, _ = options.swept
    names = names_with_role(state.opt_state, "momentum") if name == "momentum" else [name]
    values = options.settings[name]
    return names[0] if names else name, {each: values for each in names or [name]}


def run_sweep(
    options: RunOptions, loop: Loop, state: TrainState, source: BatchSource, out: Path
) -> list[str]:
    """Train a copy for each value of the hyperparameter, side by side; print a table.

    What is known after an epoch is on the disk, so a signal may end the process at any time.

    Raises:
        RunFailed: if no copy's loss stayed finite; the figures are written, too.
    """
    arrays = data_of(options, source)
    name, settings = _swept(options, state)
    write = partial(write_sweep, name=name, values=options.swept[1], out=out)
    arrays = jax.device_put(arrays)
    result = sweep(
        loop, state, *arrays, how=how_of(state), each=partial(write, ended=False), **settings
    )
    table, best = write(result, ended=False)
    drawn = unless_missing("sweep.png", lambda: write(result))
    print(table)
    if best is None:
        raise RunFailed(f"no copy's loss stayed finite; lower --sweep. See {out}.")
    return ["sweep.json", *drawn]
