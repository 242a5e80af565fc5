"""The host driver: the one Python loop over batches."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.loop import phases
from gradtx.loop.begin import Peeked, check_parts, check_watched, close
from gradtx.loop.history import History
from gradtx.loop.jitted import Jitted, prepare
from gradtx.loop.loop import Loop
from gradtx.loop.observer import Observer, Report
from gradtx.loop.phases import Level
from gradtx.loop.rule import goes_on
from gradtx.loop.signature import check_signature
from gradtx.loop.state import TrainState

Batches = Callable[[int, int], Iterable[Any]] | Iterable[Any]
Resume = Callable[[TrainState], tuple[TrainState, History]]

_epoch_row = jax.jit(phases.epoch_row)


def fit(
    loop: Loop,
    state: TrainState,
    train: Batches,
    valid: Iterable[Any] | Callable[[], Iterable[Any]] | None = None,
    *,
    epochs: int,
    observers: Sequence[Observer] = (),
    donate: bool = False,
    resume: Resume | None = None,
) -> tuple[TrainState, History]:
    """Train for `epochs` epochs on the host, a jitted step for each batch.

        state = fold(train_step, batches, state), with the events of `gradtx.loop.events` around it

    A state that was saved in the middle of a fit goes on from there, at its epoch and batch. A
    state on a mesh stays where `gradtx.parallel` has put it. The host keeps one step ahead of the
    device: it learns that a phase has ended after it has started one step more, which changes
    nothing, since the state knows, and is not reported.

    Args:
        loop: what is trained.
        state: as `loop.init` or an earlier fit has made it; it stays as it is.
        train: (epoch, start) -> the batches of an epoch from number `start` on; or a list of them.
        valid: () -> the batches of the validation set; or a list of them; None for no validation.
        epochs: their number, at least 1, those counted that the state's fit has done already.
        observers: told of the fit's progress, in this order.
        donate: whether `state` may be used up, which saves the memory of one copy.
        resume: function of `state`; a saved state of its form, and the history of the fit until
            then: see `gradtx.checkpoint.resume`.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if `epochs` is not positive or the state is in a later epoch already, if the
            batches can be read only once, or if there are none; if a hook watches what is not
            there, or a function of the loop raises or returns what it must not: the first batches
            are traced before anything else.
    """
    _check_kinds(loop, state, train, valid, epochs, observers)
    run, state = prepare(state)
    state, history = (state, History()) if resume is None else resume(state)
    _check(state, train, valid, epochs)
    tell = partial(_tell, observers, epochs=epochs)
    state = _own(state) if donate else jax.tree.map(jnp.copy, state)
    first = _check_beginning(run, loop, state, train, valid, epochs, observers)
    try:
        state = _run(run, loop, state, train, valid, epochs, history, tell, first)
    finally:
        close(first)
    tell("after_fit", state, history=history)
    return state, history


def _run(
    run: Jitted,
    loop: Loop,
    state: TrainState,
    train: Batches,
    valid: Any,
    epochs: int,
    history: History,
    tell: Callable,
    first: Peeked | None,
) -> TrainState:
    """The fit itself; the training batches of its first epoch are `first`."""
    if int(state.level) == Level.OUTSIDE:
        state = run.open_fit(loop, state)
    tell("before_fit", state, history=history)
    while int(state.epoch) < epochs and goes_on(loop, int(state.requested), "fit"):
        began = time.perf_counter()
        if int(state.level) == Level.FIT:
            state = run.open_epoch(loop, state)
        tell("before_epoch", state)
        state, first = _train_phase(run, loop, state, train, history, tell, first), None
        state = run.close_train(loop, state, validate=valid is not None)
        if valid is not None:
            tell("before_validate", state)
            for batch in _valid_batches(valid):
                state = run.eval_step(loop, state, batch)
        row = _row(loop, state, began)
        history.rows.append(row)
        state = run.close_epoch(loop, state)
        tell("after_epoch", state, row=row)
    return run.close_fit(loop, state)


def _check_kinds(
    loop: Any, state: Any, train: Any, valid: Any, epochs: Any, observers: Any
) -> None:
    batches = lambda x: callable(x) or isinstance(x, Iterable)
    observed = isinstance(observers, Iterable) and all(isinstance(o, Observer) for o in observers)
    _require(isinstance(loop, Loop), "loop", loop, "a Loop", "Pass gradtx.loop.Loop(...)")
    is_state = isinstance(state, TrainState)
    _require(is_state, "state", state, "a TrainState", "Pass loop.init(params)")
    a_list = "Pass a list, or a function"
    _require(batches(train), "train", train, "batches", f"{a_list} (epoch, start)")
    _require(valid is None or batches(valid), "valid", valid, "batches", a_list)
    whole = isinstance(epochs, Integral)
    _require(whole, "epochs", epochs, "a whole number", "Pass for example 5")
    call = "Call the factory: progress()"
    _require(observed, "observers", observers, "a list of Observers", call)


def _require(is_right: bool, name: str, given: Any, what: str, do: str) -> None:
    if not is_right:
        raise TypeError(f"fit: `{name}` must be {what}; got {given!r:.200}. {do}.")


def _own(state: TrainState) -> TrainState:
    """`state` with a buffer for each leaf, so that all can be donated."""
    seen: set[int] = set()

    def own(x: Any) -> Any:
        known = id(x) in seen
        seen.add(id(x))
        return jnp.copy(x) if known else x

    return jax.tree.map(own, state)


def _check_beginning(
    run: Jitted,
    loop: Loop,
    state: TrainState,
    train: Batches,
    valid: Any,
    epochs: int,
    observers: Sequence[Observer],
) -> Peeked | None:
    """Find what is wrong before the fit begins; the batches of its first epoch, begun already."""
    level = int(state.level)
    epoch = 0 if level == Level.OUTSIDE else int(state.epoch)
    start = 0 if level in (Level.OUTSIDE, Level.FIT) else int(state.batch)
    if epoch >= epochs:
        return None
    check_watched("fit", loop, state, validated=valid is not None, observers=observers)
    checked = None
    if valid is not None:
        peeked = Peeked(_valid_batches(valid))
        close(peeked)
        if (checked := peeked.first) is None:
            raise ValueError(
                "fit: `valid` must give batches; got none. Pass None for no validation, or check"
                " that the validation set has an example."
            )
    batches = Peeked(_batches(train, epoch, start))
    try:
        check_parts(run, loop, state, batches.first, checked, validate=valid is not None)
    except BaseException:
        close(batches)
        raise
    return batches


def _valid_batches(valid: Any) -> Any:
    return valid() if callable(valid) else valid


def _batches(train: Batches, epoch: int, start: int) -> Any:
    return train(epoch, start) if callable(train) else itertools.islice(train, start, None)


def _check(state: TrainState, train: Any, valid: Any, epochs: int) -> None:
    if epochs < 1:
        raise ValueError(f"fit: `epochs` must be positive; got {epochs}. Pass 1 or more.")
    if int(state.level) != Level.OUTSIDE and int(state.epoch) > epochs:
        raise ValueError(
            f"fit: `epochs` must not be below what the state's fit has done; got {epochs} after"
            f" {int(state.epoch)} epochs. Pass the number that the fit began with."
        )
    for name, batches in (("train", train), ("valid", valid)):
        if isinstance(batches, Iterator):
            raise ValueError(
                f"fit: `{name}` must give its batches anew for every epoch; got an iterator"
                f" ({type(batches).__name__}), which gives them once. Pass a list or a function."
            )
    if callable(train):
        check_signature("fit: `train`", train, "(epoch, start), which returns batches", 0, 0)
    if callable(valid):
        check_signature("fit: `valid`", valid, "(), which returns batches")


def _train_phase(
    run: Jitted,
    loop: Loop,
    state: TrainState,
    train: Batches,
    history: History,
    tell: Callable,
    first: Peeked | None,
) -> TrainState:
    """The training batches of an epoch, from the state's own position on."""
    epoch, start = int(state.epoch), int(state.batch)
    if not goes_on(loop, int(state.requested), "train"):
        return state
    batches = first or _batches(train, epoch, start)
    logs: list[dict[str, Any]] = []
    try:
        for number, batch in enumerate(batches, start + 1):
            state, log = run.train_step(loop, state, batch)
            # Only now, with the next step under way, look at how the one before it ended.
            if logs and not goes_on(loop, int(logs[-1]["requested"]), "train"):
                break
            logs.append(log)
            tell("after_batch", state, epoch=epoch, batch=number, log=log)
    finally:
        close(batches)
    if not logs and not start:
        raise ValueError(
            f"fit: `train` must give batches; got none in epoch {epoch}. Check that the data set"
            " has at least one full batch."
        )
    _keep(history, logs)
    return state


def _keep(history: History, logs: list[dict[str, Any]]) -> None:
    """Bring an epoch's logs to the host, one array for each entry."""
    if not logs:
        return
    # Column by column with `asarray`: `device_get` takes seven times as long for so many scalars.
    columns = zip(*map(jax.tree.leaves, logs), strict=True)
    arrays = [np.array([np.asarray(x) for x in column]) for column in columns]
    new = jax.tree.unflatten(jax.tree.structure(logs[0]), arrays)
    join = lambda old, new: np.concatenate([old, new])
    history.steps.update(jax.tree.map(join, history.steps, new) if history.steps else new)


def _row(loop: Loop, state: TrainState, began: float) -> dict[str, float]:
    values = _epoch_row(state)  # jit has put the columns into alphabetical order
    columns = ("epoch", "train_loss", "valid_loss", *loop.metrics)
    row = {name: np.asarray(values[name]).item() for name in columns}
    return row | {"time": time.perf_counter() - began}


def _tell(observers: Sequence[Observer], event: str, state: TrainState, **details: Any) -> None:
    listeners = [observer.on[event] for observer in observers if event in observer.on]
    if not listeners:
        return
    if "batch" not in details:  # reading the state waits for the step under way
        details |= {"epoch": int(state.epoch), "batch": int(state.batch)}
    for listener in listeners:
        listener(Report(event, state, **details))
