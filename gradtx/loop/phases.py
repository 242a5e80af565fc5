"""What surrounds the batches: opening and closing a fit, an epoch and its phases.

Pure functions of the state, called by every driver in this order:

    open_fit (open_epoch train_step* close_train eval_step* close_epoch)* close_fit
"""

from enum import IntEnum

import jax
import jax.numpy as jnp

from gradtx.loop.dispatch import choose, fire
from gradtx.loop.events import Signal
from gradtx.loop.loop import Loop
from gradtx.loop.state import Metrics, Moment, TrainState, empty_metrics
from gradtx.loop.step import drop


class Stage(IntEnum):
    """Where in a fit a state is; it names the innermost level that is open."""

    OUTSIDE = 0
    FIT = 1
    EPOCH = 2
    TRAIN = 3
    VALIDATE = 4


def _event(loop: Loop, name: str, state: TrainState, active: jax.Array) -> TrainState:
    if not any(name in hook.on for hook in loop.hooks):
        return state
    fields = ("step", "epoch", "signal", "params", "model_state", "opt_state", "metrics")
    moment = Moment(
        training=name.endswith("train"),
        key=jax.random.fold_in(state.key, state.step),
        **{field: getattr(state, field) for field in fields},
    )
    hooks, moment = fire(loop, name, state.hooks, moment, active)
    return state.replace(hooks=hooks, **{field: getattr(moment, field) for field in fields[2:]})


def _close(loop: Loop, state: TrainState, level: str, signal: Signal, active: jax.Array):
    """after_cancel_<level> if it was asked for, after_<level>, and the end of its requests."""
    state = _event(loop, f"after_cancel_{level}", state, active & (state.signal == signal))
    state = _event(loop, f"after_{level}", state, active)
    over = drop(state, signal).signal
    return state.replace(signal=jnp.where(active, over, state.signal))


def _at(stage: Stage, where: jax.Array, state: TrainState) -> TrainState:
    return state.replace(stage=jnp.where(where, jnp.int32(stage), state.stage))


def open_fit(loop: Loop, state: TrainState) -> TrainState:
    """Begin a fit: epochs, the running loss and requests start anew, all else goes on."""
    zero = jnp.zeros((), jnp.int32)
    state = state.replace(
        epoch=zero, batch=zero, signal=zero, stage=zero, metrics=empty_metrics(loop.metrics)
    )
    state = _at(Stage.FIT, jnp.array(True), state)
    return _event(loop, "before_fit", state, jnp.array(True))


def open_epoch(loop: Loop, state: TrainState) -> TrainState:
    """Begin an epoch and its training phase, unless the fit was asked to end."""
    running = state.signal < Signal.END_FIT
    old = state.metrics
    fresh = Metrics(old.average, old.count, *_no_sums(old))
    state = state.replace(
        batch=jnp.where(running, jnp.zeros_like(state.batch), state.batch),
        metrics=choose(running, fresh, old),
    )
    state = _at(Stage.EPOCH, running, state)
    state = _event(loop, "before_epoch", state, running)
    trains = running & (state.signal < Signal.END_EPOCH)
    state = _at(Stage.TRAIN, trains, state)
    return _event(loop, "before_train", state, trains)


def _no_sums(metrics: Metrics):
    return jax.tree.map(jnp.zeros_like, metrics.sums), jnp.zeros_like(metrics.weight)


def close_train(loop: Loop, state: TrainState, *, validate: bool = True) -> TrainState:
    """End the training phase and, if there is to be one, begin validation."""
    open_ = state.stage == Stage.TRAIN
    state = _close(loop, state, "train", Signal.END_PHASE, open_)
    state = _at(Stage.EPOCH, open_, state)
    if not validate:
        return state
    validates = (state.stage == Stage.EPOCH) & (state.signal < Signal.END_EPOCH)
    state = _at(Stage.VALIDATE, validates, state)
    return _event(loop, "before_validate", state, validates)


def close_epoch(loop: Loop, state: TrainState) -> TrainState:
    """End the validation and the epoch."""
    validated = state.stage == Stage.VALIDATE
    state = _close(loop, state, "validate", Signal.END_PHASE, validated)
    open_ = state.stage >= Stage.EPOCH
    state = _close(loop, state, "epoch", Signal.END_EPOCH, open_)
    state = _at(Stage.FIT, open_, state)
    return state.replace(epoch=state.epoch + open_.astype(jnp.int32))


def close_fit(loop: Loop, state: TrainState) -> TrainState:
    """End the fit."""
    open_ = state.stage == Stage.FIT
    state = _close(loop, state, "fit", Signal.END_FIT, open_)
    return _at(Stage.OUTSIDE, open_, state)


def epoch_row(state: TrainState) -> dict[str, jax.Array]:
    """The line of the epoch table: the same columns in every epoch, NaN where there is no value."""
    return {"epoch": state.epoch, **state.metrics.row}
