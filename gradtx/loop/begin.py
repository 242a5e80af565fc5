"""What is found out before a fit begins, when nothing is lost yet."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from numbers import Number
from typing import Any

import jax
import numpy as np

from gradtx.core.foreign import close
from gradtx.core.tree import path_name
from gradtx.loop.form import difference, spec
from gradtx.loop.jitted import Jitted
from gradtx.loop.loop import Loop
from gradtx.loop.observer import Observer
from gradtx.loop.state import TrainState, is_of_training


def check_watched(
    where: str,
    loop: Loop,
    state: TrainState,
    *,
    validated: bool,
    observers: Sequence[Observer] = (),
) -> None:
    """Require that there will be what hooks and observers watch.

    Args:
        where: the beginning of the message.
        loop: whose hooks are asked.
        state: one of it.
        validated: whether the fit has a validation set.
        observers: that are asked too.

    Raises:
        ValueError: naming who watches what.
    """
    watchers = [(f"hook {hook.name!r}", hook.watches) for hook in loop.hooks]
    watchers += [(observer.described, observer.watches) for observer in observers]
    columns = state.metrics.shapes
    for who, column in watchers:
        if column is not None and column not in columns:
            raise ValueError(
                f"{where}: {who} watches {column!r}, which must be in the epoch table; its columns"
                f" are {', '.join(columns)}. Let it watch one of these, or add the metric."
            )
        if column is not None and columns[column]:
            raise ValueError(
                f"{where}: {who} watches {column!r}, which must be one number an epoch; got an"
                f" array of shape {columns[column]}. Add a metric that is their mean, such as one"
                ' with average="macro", and let it watch that.'
            )
        if column is not None and not is_of_training(column) and not validated:
            raise ValueError(
                f"{where}: {who} watches {column!r}, which needs validation; got no validation"
                " batches. Pass `valid`, or let it watch 'train_loss'."
            )


def check_parts(
    run: Jitted, loop: Loop, state: TrainState, batch: Any, valid_batch: Any, *, validate: bool
) -> None:
    """Trace all parts of a fit, which computes nothing; each is traced once in all.

    Args:
        run: the jitted parts.
        loop: what is trained.
        state: that the fit begins with.
        batch: the first one, or None if there is none to come.
        valid_batch: the first one of the validation set, or None.
        validate: whether there is a validation set.

    Raises:
        TypeError: if a function returns what it must not, or a batch holds what is no number.
        ValueError: so too, or if a part changes the form of the state.
    """
    check_batch("fit", "train", batch)
    check_batch("fit", "valid", valid_batch)
    parts: dict[str, Callable[[], Any]] = {"open_fit": lambda: run.open_fit.eval_shape(state)}
    parts["open_epoch"] = lambda: run.open_epoch.eval_shape(state)
    if batch is not None:
        parts["train_step"] = lambda: run.train_step.eval_shape(state, batch)[0]
    parts["close_train"] = lambda: run.close_train.eval_shape(state, validate=validate)
    if valid_batch is not None:
        parts["eval_step"] = lambda: run.eval_step.eval_shape(state, valid_batch)
    parts["close_epoch"] = lambda: run.close_epoch.eval_shape(state)
    parts["close_fit"] = lambda: run.close_fit.eval_shape(state)
    check_forms("fit", state, parts)


def check_forms(where: str, state: TrainState, parts: Mapping[str, Callable[[], Any]]) -> None:
    """Require parts that keep the form of the state.

    Args:
        where: the function that was called.
        state: that they begin with.
        parts: by name, functions that trace one, which computes nothing.

    Raises:
        ValueError: naming the part that does not.
    """
    for name, trace in parts.items():
        problem = difference(trace(), state)
        if problem:
            raise ValueError(
                f"{where}: the state must keep its structure, shapes and dtypes; `{name}` makes"
                f" {problem}. Let what returns it, such as the optimizer's update, cast it to the"
                " dtype that came in."
            )


class Peeked:
    """Batches that are read once, of which the first is known.

    Args:
        batches: what gives them.
    """

    def __init__(self, batches: Iterable[Any]) -> None:  # noqa: D107
        rest = iter(batches)
        begun = list(islice(rest, 1))
        self.source, self.first = batches, begun[0] if begun else None
        self.all = chain(begun, rest)

    def __iter__(self) -> Iterator[Any]:
        return self.all

    def close(self) -> None:
        """Let what gives them end what it has begun."""
        close(self.source)


def check_batch(where: str, name: str, batch: Any) -> None:
    """Require arrays and numbers.

    Args:
        where: the function that was called.
        name: of its argument that gives the batch.
        batch: the first one.

    Raises:
        TypeError: naming the first leaf that is neither.
        ValueError: for a weight that is negative or not finite, where the host has it.
    """
    for path, leaf in jax.tree.leaves_with_path(batch):
        kind = getattr(getattr(leaf, "dtype", None), "kind", "")  # of object or text: no array
        if kind in ("O", "S", "U") or not (hasattr(leaf, "dtype") or isinstance(leaf, Number)):
            raise TypeError(
                f"{where}: every leaf of a batch of `{name}` must be an array of numbers; got"
                f" {spec(leaf)} at {path_name(path)}. Leave out what the model can't use, or make"
                " an array of it where the batches are made."
            )
    weight = batch.get("weight") if isinstance(batch, Mapping) else None
    if isinstance(weight, np.ndarray):  # one on a device is not waited for
        bad = weight[~(np.isfinite(weight) & (weight >= 0))]
        if bad.size:
            raise ValueError(
                f'{where}: batch["weight"] of `{name}` must be finite and not negative; got'
                f" {bad.flat[0]:g}. Give an example that does not count the weight 0."
            )
