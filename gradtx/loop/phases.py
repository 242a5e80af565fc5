"""What surrounds the batches: opening and closing a fit, an epoch and its phases.

Pure functions of the state, called by every driver in this order:

    open_fit (open_epoch train_step* close_train eval_step* close_epoch)* close_fit
"""

from dataclasses import replace
from enum import IntEnum
from typing import Any

import jax.numpy as jnp

from gradtx.loop.dispatch import choose
from gradtx.loop.loop import Loop
from gradtx.loop.measured import empty_metrics
from gradtx.loop.rule import close_level, goes_on, open_level
from gradtx.loop.state import TrainState, context_of, with_changes


class Level(IntEnum):
    """Where in a fit a state is: the innermost level that is open, of those around a batch.

    Attributes:
        OUTSIDE: in no fit.
        FIT: between epochs.
        EPOCH: between the phases of an epoch.
        TRAIN: among the batches of training.
        VALIDATE: among those of validation.
    """

    OUTSIDE = 0
    FIT = 1
    EPOCH = 2
    TRAIN = 3
    VALIDATE = 4


AROUND = {
    Level.FIT: Level.OUTSIDE,
    Level.EPOCH: Level.FIT,
    Level.TRAIN: Level.EPOCH,
    Level.VALIDATE: Level.EPOCH,
}


def _open(loop: Loop, level: Level, state: TrainState, within: Any) -> TrainState:
    state = state.replace(level=choose(within, jnp.int32(level), state.level))
    context = context_of(state, training=level == Level.TRAIN)
    changed = open_level(loop, level.name.lower(), state.hooks, context, within)
    return with_changes(state, *changed)


def _close(loop: Loop, level: Level, state: TrainState) -> TrainState:
    opened = state.level == level
    context = context_of(state, training=level == Level.TRAIN)
    changed = close_level(loop, level.name.lower(), state.hooks, context, opened)
    state = with_changes(state, *changed)
    return state.replace(level=choose(opened, jnp.int32(AROUND[level]), state.level))


def open_fit(loop: Loop, state: TrainState) -> TrainState:
    """Begin a fit: epochs, the running loss and requests start anew, all else goes on.

    Args:
        loop: whose hooks are called.
        state: one outside any fit.
    """
    zero = jnp.zeros((), jnp.int32)
    metrics = empty_metrics(loop.metrics, loop.train_metrics)
    state = state.replace(epoch=zero, batch=zero, requested=zero, level=zero, metrics=metrics)
    return _open(loop, Level.FIT, state, True)


def open_epoch(loop: Loop, state: TrainState) -> TrainState:
    """Begin an epoch and its training phase, unless the fit was asked to end.

    Args:
        loop: whose hooks are called.
        state: one between two epochs of a fit.
    """
    running = goes_on(loop, state.requested, "fit")
    old = state.metrics
    fresh = empty_metrics(loop.metrics, loop.train_metrics)
    fresh = replace(fresh, average=old.average, count=old.count)
    state = state.replace(
        batch=choose(running, jnp.zeros_like(state.batch), state.batch),
        metrics=choose(running, fresh, old),
    )
    state = _open(loop, Level.EPOCH, state, running)
    return _open(loop, Level.TRAIN, state, goes_on(loop, state.requested, "epoch", running))


def close_train(loop: Loop, state: TrainState, *, validate: bool = True) -> TrainState:
    """End the training phase and, if there is to be one, begin validation.

    Args:
        loop: whose hooks are called.
        state: as the epoch's last training batch has left it.
        validate: whether validation batches follow.
    """
    state = _close(loop, Level.TRAIN, state)
    if not validate:
        return state
    in_epoch = state.level == Level.EPOCH
    return _open(loop, Level.VALIDATE, state, goes_on(loop, state.requested, "epoch", in_epoch))


def close_epoch(loop: Loop, state: TrainState) -> TrainState:
    """End the validation and the epoch.

    Args:
        loop: whose hooks are called.
        state: as the epoch's last batch has left it.
    """
    state = _close(loop, Level.VALIDATE, state)
    in_epoch = state.level == Level.EPOCH
    state = _close(loop, Level.EPOCH, state)
    return state.replace(epoch=state.epoch + in_epoch.astype(jnp.int32))


def close_fit(loop: Loop, state: TrainState) -> TrainState:
    """End the fit.

    Args:
        loop: whose hooks are called.
        state: as its last epoch has left it.
    """
    return _close(loop, Level.FIT, state)


def epoch_row(state: TrainState) -> dict[str, Any]:
    """The line of the epoch table: the same columns in every epoch.

        row = epoch, the figures, and known        with_nan(row) on the host

    `known` says of each figure whether it has a value; without one it is 0.

    Args:
        state: as the epoch's last validation batch has left it.
    """
    return {"epoch": state.epoch, **state.metrics.figures, "known": state.metrics.known}
