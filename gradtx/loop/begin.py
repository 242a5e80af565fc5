"""What is found out before a fit begins, when nothing is lost yet."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from gradtx.loop.form import difference
from gradtx.loop.jitted import Jitted
from gradtx.loop.loop import Loop
from gradtx.loop.observer import Observer
from gradtx.loop.state import TrainState

# Columns of the epoch table that need no validation.
UNVALIDATED = ("train_loss",)


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
    watchers += [("an observer", observer.watches) for observer in observers]
    columns = list(state.metrics.row)
    for who, column in watchers:
        if column is not None and column not in columns:
            raise ValueError(
                f"{where}: {who} watches {column!r}, which must be in the epoch table; its columns"
                f" are {', '.join(columns)}. Let it watch one of these, or add the metric."
            )
        if column is not None and column not in UNVALIDATED and not validated:
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
        TypeError: if a function returns what it must not, as it says.
        ValueError: so too, or if a part changes the form of the state.
    """
    parts: dict[str, Callable[[], Any]] = {"open_fit": lambda: run.open_fit.eval_shape(loop, state)}
    parts["open_epoch"] = lambda: run.open_epoch.eval_shape(loop, state)
    if batch is not None:
        parts["train_step"] = lambda: run.train_step.eval_shape(loop, state, batch)[0]
    parts["close_train"] = lambda: run.close_train.eval_shape(loop, state, validate=validate)
    if valid_batch is not None:
        parts["eval_step"] = lambda: run.eval_step.eval_shape(loop, state, valid_batch)
    parts["close_epoch"] = lambda: run.close_epoch.eval_shape(loop, state)
    parts["close_fit"] = lambda: run.close_fit.eval_shape(loop, state)
    for name, trace in parts.items():
        problem = difference(trace(), state)
        if problem:
            raise ValueError(
                f"fit: the state must keep its structure, shapes and dtypes; `{name}` makes"
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


def close(batches: Any) -> None:
    """Let a source of batches end what it has begun, such as its threads.

    Args:
        batches: anything; what can't be closed stays as it is.
    """
    if hasattr(batches, "close"):
        batches.close()


def check_source(name: str, batches: Any, *arguments: Any) -> None:
    """Require that a function of batches takes these arguments.

    Args:
        name: of the argument of `fit`.
        batches: the function, or batches.
        arguments: that it is called with.

    Raises:
        TypeError: if it does not.
    """
    if not callable(batches):
        return
    try:
        signature = inspect.signature(batches)
    except (TypeError, ValueError):  # it does not say
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        form = "(epoch, start)" if arguments else "()"
        raise TypeError(
            f"fit: `{name}`, where it is a function, must take {form} and return batches; got one"
            f" of {signature}. Write {_EXAMPLES[name]}."
        ) from None


_EXAMPLES = {
    "train": "`lambda epoch, start: itertools.islice(batches(), start, None)`",
    "valid": "`lambda: batches(...)`",
}
