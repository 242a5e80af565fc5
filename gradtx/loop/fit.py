"""The host driver: the one Python loop over batches."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.foreign import close
from gradtx.loop.arguments import (
    check_kinds,
    check_options,
    check_position,
    check_steps_per_execution,
)
from gradtx.loop.begin import Peeked, check_parts, check_watched
from gradtx.loop.execution import Execution
from gradtx.loop.history import History, with_nan
from gradtx.loop.jitted import Jitted, epoch_row, prepare
from gradtx.loop.loop import Loop
from gradtx.loop.measured import with_functions
from gradtx.loop.observer import Observer
from gradtx.loop.phases import Level
from gradtx.loop.reading import read
from gradtx.loop.rule import goes_on, may_ask
from gradtx.loop.sampling import Samples, without_samples
from gradtx.loop.sources import of_epoch, of_validation
from gradtx.loop.state import OF_TRAINING, TrainState, train_column
from gradtx.loop.telling import Position, Told

Batches = Callable[..., Iterable[Any]] | Iterable[Any]
Resume = Callable[[TrainState], tuple[TrainState, History]]


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
    steps_per_execution: int | Literal["auto"] = "auto",
) -> tuple[TrainState, History]:
    """Train for `epochs` epochs on the host, by jitted programs of one step or a block of steps.

        state = fold(train_step, batches, state), with the events of `gradtx.loop.events` around it

    A state that was saved in the middle of a fit goes on from there, at its epoch and batch. A
    state on a mesh stays where `gradtx.parallel` has put it. The host keeps up to half a second
    ahead of the device: it learns that a phase has ended after it has started some steps more,
    which change nothing, since the state knows, and are not reported.

    Args:
        loop: what is trained.
        state: as `loop.init` or an earlier fit has made it; it stays as it is.
        train: (epoch, start) -> the batches of an epoch from number `start` on; a function (epoch)
            or () that gives all of them, such as a generator function, called anew in each epoch;
            or a list of them, a loader of PyTorch's, of grain's, any iterable that begins anew.
            Arrays of other libraries become NumPy's.
        valid: () -> the batches of the validation set; or a list of them, or a loader; None for no
            validation. It is begun once more before the fit, for a look at the first batch.
        epochs: their number, at least 1, those counted that the state's fit has done already.
        observers: told of the fit's progress, in this order.
        donate: whether `state` may be used up, which saves the memory of one copy.
        resume: function of `state`; a saved state of its form, and the history of the fit until
            then: see `gradtx.checkpoint.resume`.
        steps_per_execution: the most steps that one program makes; nothing else is seen of it.
            "auto" is 1 on a CPU, and elsewhere what memory and a quick answer allow.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if `epochs` is not positive or the state is in a later epoch already, if the
            batches can be read only once, or if there are none; if a hook watches what is not
            there, or a function of the loop raises or returns what it must not: the first batches
            are traced before anything else.
    """
    check_kinds(loop, state, train, valid, epochs, observers)
    check_options(donate, resume)
    check_steps_per_execution(steps_per_execution)
    own = with_functions(loop.metrics, loop.train_metrics, state.metrics)
    run, state = prepare(loop, state.replace(metrics=own))
    state, history = (state, History()) if resume is None else resume(state)
    at = Position(*map(int, read(_position(state))))
    if at.requested and not may_ask(loop):  # what another loop's hook asked for; none takes it back
        state = state.replace(requested=state.requested * 0)
        at = at._replace(requested=0)
    check_position(at, train, valid, epochs)
    state = _own(state) if donate else jax.tree.map(jnp.copy, state)
    first = _check_beginning(run, loop, state, at, train, valid, epochs, observers)
    told = Told(tuple(observers), epochs)
    execution = Execution(run, loop, steps_per_execution)
    with told.of_errors():
        try:
            state, at = _run(execution, state, at, train, valid, history, told, first)
        finally:
            close(first)
        told.of("after_fit", state, at, history=history)
    return state, history


def _run(
    execution: Execution,
    state: TrainState,
    at: Position,
    train: Batches,
    valid: Any,
    history: History,
    told: Told,
    first: Peeked | None,
) -> tuple[TrainState, Position]:
    """The fit itself; the training batches of its first epoch are `first`."""
    run, loop = execution.run, execution.loop
    if at.level == Level.OUTSIDE:
        state = run.open_fit(state)
        at = _opened(loop, state, at, Level.FIT)._replace(epoch=0, batch=0)
    told.of("before_fit", state, at, history=history)
    while at.epoch < told.epochs and goes_on(loop, at.requested, "fit"):
        began = time.perf_counter()
        if at.level == Level.FIT:
            state = run.open_epoch(state)
            at = _opened(loop, state, at, Level.TRAIN)._replace(batch=0)
        told.of("before_epoch", state, at)
        if at.level == Level.TRAIN and goes_on(loop, at.requested, "train"):
            batches = first or of_epoch(train, at.epoch, at.batch)
            state, at = _train_phase(execution, state, at, batches, history, told)
        first = None
        state = run.close_train(state, validate=valid is not None)
        if valid is not None:
            told.of("before_validate", state, at)
            state = execution.validate(state, of_validation(valid))
        row = epoch_row(state)
        state = run.close_epoch(state)
        row, position = read((row, _position(state)))
        at = Position(*map(int, position))
        history.rows.append(_row(loop, row, began))
        told.of("after_epoch", state, at, row=history.rows[-1], program=execution.program)
    return run.close_fit(state), at


def _position(state: TrainState) -> tuple[Any, ...]:
    return tuple(getattr(state, name) for name in Position._fields)


def _opened(loop: Loop, state: TrainState, at: Position, level: Level) -> Position:
    """The position after a level was opened; the state is read only if a hook may have spoken."""
    names = {"before_fit"} if level == Level.FIT else {"before_epoch", "before_train"}
    requested = at.requested if level > Level.FIT else 0
    if any(names & hook.on.keys() for hook in loop.hooks):
        requested = int(read(state.requested))
    return at._replace(level=level, requested=requested)


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
    at: Position,
    train: Batches,
    valid: Any,
    epochs: int,
    observers: Sequence[Observer],
) -> Peeked | None:
    """Find what is wrong before the fit begins; the batches of its first epoch, begun already."""
    if at.level == Level.OUTSIDE:
        at = at._replace(epoch=0)
    if at.level in (Level.OUTSIDE, Level.FIT):
        at = at._replace(batch=0)
    if at.epoch >= epochs:
        return None
    check_watched("fit", loop, state, validated=valid is not None, observers=observers)
    checked = None
    if valid is not None:
        peeked = Peeked(of_validation(valid))
        close(peeked)
        if (checked := peeked.first) is None:
            raise ValueError(
                "fit: `valid` must give batches; got none. Pass None for no validation, or check"
                " that the validation set has an example."
            )
    batches = Peeked(of_epoch(train, at.epoch, at.batch))
    try:
        check_parts(run, loop, state, batches.first, checked, validate=valid is not None)
    except BaseException:
        close(batches)
        raise
    return batches


def _train_phase(
    execution: Execution,
    state: TrainState,
    at: Position,
    batches: Any,
    history: History,
    told: Told,
) -> tuple[TrainState, Position]:
    """The training batches of an epoch, from the state's own position on."""
    start, steps = at, itertools.count(at.step + 1)
    logs: list[Any] = []
    samples = Samples.of(execution.loop, state)

    def deliver(new: Any, seen: TrainState | None) -> bool:
        nonlocal at
        count = int(np.sum(new["alive"]))  # the others came after the end of the phase
        whole = count == len(new["alive"])
        new, sampled = without_samples(new)
        more = samples.of_steps(sampled, count)
        _keep_arrays(history, more, at.step)
        at = at._replace(batch=at.batch + count, step=at.step + count)
        new, sampled = jax.tree.map(lambda x: x[:count], (with_nan(new), sampled))
        logs.append(new | samples.columns(sampled, scalars=True))
        told.of_steps(new, more, seen if whole else None, at)
        return goes_on(execution.loop, int(new["requested"][-1]), "train")

    try:
        state = execution.train(state, batches, lambda: told.is_read(next(steps)), deliver)
    finally:
        close(batches)
    if not logs and not start.batch:
        raise ValueError(
            f"fit: `train` must give batches; got none in epoch {at.epoch}. Check that the data set"
            " has at least one full batch."
        )
    _keep(history, logs)
    return state, at


def _keep_arrays(history: History, more: list[dict[str, Any]], first: int) -> None:
    """Add the arrays that hooks logged in steps from number `first` on."""
    for step, values in enumerate(more, first):
        for name, value in values.items():
            if value.ndim:
                history.samples.setdefault(name, {})[step] = value


def _keep(history: History, logs: list[Any]) -> None:
    """Add an epoch's logs to the history, one array for each entry."""
    if not logs:
        return
    old = [history.steps] if history.steps else []
    history.steps.update(jax.tree.map(lambda *parts: np.concatenate(parts), *old, *logs))


def _row(loop: Loop, values: dict[str, Any], began: float) -> dict[str, Any]:
    values = with_nan(values)  # jit has put the columns into alphabetical order
    train = [*OF_TRAINING, *map(train_column, loop.train_metrics)]
    columns = ("epoch", *train, "valid_loss", *loop.metrics)
    return {name: values[name].tolist() for name in columns} | {"time": time.perf_counter() - began}
