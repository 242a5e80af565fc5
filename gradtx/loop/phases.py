"""What surrounds the batches: opening and closing a fit, an epoch and its phases.

Pure functions of the state, called by every driver in this order:

    open_fit (open_epoch train_step* close_train eval_step* close_epoch)* close_fit
"""

from enum import IntEnum

import jax
import jax.numpy as jnp

from gradtx.loop.dispatch import choose, dispatch
from gradtx.loop.events import Request
from gradtx.loop.loop import Loop
from gradtx.loop.state import Metrics, StepContext, TrainState, empty_metrics
from gradtx.loop.step import drop


class Level(IntEnum):
    """Where in a fit a state is; it names the innermost level that is open."""

    OUTSIDE = 0
    FIT = 1
    EPOCH = 2
    TRAIN = 3
    VALIDATE = 4


def _event(loop: Loop, name: str, state: TrainState, active: jax.Array) -> TrainState:
    if not any(name in hook.on for hook in loop.hooks):
        return state
    fields = ("step", "epoch", "requested", "params", "model_state", "opt_state", "metrics")
    context = StepContext(
        training=name.endswith("train"),
        key=jax.random.fold_in(state.key, state.step),
        **{field: getattr(state, field) for field in fields},
    )
    hooks, context = dispatch(loop, name, state.hooks, context, active)
    return state.replace(hooks=hooks, **{field: getattr(context, field) for field in fields[2:]})


def _close(loop: Loop, state: TrainState, level: str, request: Request, active: jax.Array):
    """after_cancel_<level> if it was asked for, after_<level>, and the end of its requests."""
    state = _event(loop, f"after_cancel_{level}", state, active & (state.requested == request))
    state = _event(loop, f"after_{level}", state, active)
    over = drop(state, request).requested
    return state.replace(requested=jnp.where(active, over, state.requested))


def _at(stage: Level, where: jax.Array, state: TrainState) -> TrainState:
    return state.replace(level=jnp.where(where, jnp.int32(stage), state.level))


def open_fit(loop: Loop, state: TrainState) -> TrainState:
    """Begin a fit: epochs, the running loss and requests start anew, all else goes on."""
    zero = jnp.zeros((), jnp.int32)
    state = state.replace(
        epoch=zero, batch=zero, requested=zero, level=zero, metrics=empty_metrics(loop.metrics)
    )
    state = _at(Level.FIT, jnp.array(True), state)
    return _event(loop, "before_fit", state, jnp.array(True))


def open_epoch(loop: Loop, state: TrainState) -> TrainState:
    """Begin an epoch and its training phase, unless the fit was asked to end."""
    running = state.requested < Request.END_FIT
    old = state.metrics
    fresh = Metrics(old.average, old.count, *_no_sums(old))
    state = state.replace(
        batch=jnp.where(running, jnp.zeros_like(state.batch), state.batch),
        metrics=choose(running, fresh, old),
    )
    state = _at(Level.EPOCH, running, state)
    state = _event(loop, "before_epoch", state, running)
    trains = running & (state.requested < Request.END_EPOCH)
    state = _at(Level.TRAIN, trains, state)
    return _event(loop, "before_train", state, trains)


def _no_sums(metrics: Metrics):
    return jax.tree.map(jnp.zeros_like, metrics.sums), jnp.zeros_like(metrics.weight)


def close_train(loop: Loop, state: TrainState, *, validate: bool = True) -> TrainState:
    """End the training phase and, if there is to be one, begin validation."""
    open_ = state.level == Level.TRAIN
    state = _close(loop, state, "train", Request.END_PHASE, open_)
    state = _at(Level.EPOCH, open_, state)
    if not validate:
        return state
    validates = (state.level == Level.EPOCH) & (state.requested < Request.END_EPOCH)
    state = _at(Level.VALIDATE, validates, state)
    return _event(loop, "before_validate", state, validates)


def close_epoch(loop: Loop, state: TrainState) -> TrainState:
    """End the validation and the epoch."""
    validated = state.level == Level.VALIDATE
    state = _close(loop, state, "validate", Request.END_PHASE, validated)
    open_ = state.level >= Level.EPOCH
    state = _close(loop, state, "epoch", Request.END_EPOCH, open_)
    state = _at(Level.FIT, open_, state)
    return state.replace(epoch=state.epoch + open_.astype(jnp.int32))


def close_fit(loop: Loop, state: TrainState) -> TrainState:
    """End the fit."""
    open_ = state.level == Level.FIT
    state = _close(loop, state, "fit", Request.END_FIT, open_)
    return _at(Level.OUTSIDE, open_, state)


def epoch_row(state: TrainState) -> dict[str, jax.Array]:
    """The line of the epoch table: the same columns in every epoch, NaN where there is no value."""
    return {"epoch": state.epoch, **state.metrics.row}
