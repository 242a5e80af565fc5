"""One batch, as a pure function of the state: the events, the gradient, the optimizer's step.

What a request skips is computed all the same and then left out by a select, which costs nothing
while nothing is skipped and keeps the host loop and the compiled epoch the same program.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.core.transformation import apply_updates
from gradtx.core.tree import compute_dtype
from gradtx.loop.dispatch import HookStates, choose, fire
from gradtx.loop.events import Signal
from gradtx.loop.loop import Loop, hook_logs
from gradtx.loop.state import SMOOTHING, Metrics, Moment, PyTree, TrainState


def mean_loss(losses: jax.Array, batch: Any) -> jax.Array:
    """Weighted mean over the examples of a batch.

    sum(weight losses) / sum(weight)        weight = 1 where the batch has none
    """
    losses = losses.astype(compute_dtype(losses))
    weight = _weight(batch, losses)
    return jnp.sum(weight * losses) / jnp.maximum(jnp.sum(weight), 1e-12)


def _weight(batch: Any, losses: jax.Array) -> jax.Array:
    if losses.ndim != 1:
        raise ValueError(
            f"Loop: `loss` and metrics must return one value for each example, a vector; got shape"
            f" {losses.shape}. Take means over the other axes, and leave the batch's to the loop."
        )
    if not len(losses):
        raise ValueError(
            "Loop: a batch must have one example at least; got none. Leave empty batches out."
        )
    weight = batch.get("weight") if isinstance(batch, dict) else None
    return jnp.ones_like(losses) if weight is None else weight.astype(losses.dtype)


def batch_weight(batch: Any) -> jax.Array:
    """float32[]: what a batch counts for, the sum of its weights or its number of examples."""
    if isinstance(batch, dict) and batch.get("weight") is not None:
        return jnp.sum(batch["weight"].astype(jnp.float32))
    return jnp.full((), len(jax.tree.leaves(batch)[0]), jnp.float32)


def _begin(loop: Loop, state: TrainState, batch: Any, training: bool) -> tuple[Any, Moment]:
    alive = state.signal < Signal.END_PHASE if loop.hooks else True
    moment = Moment(
        training=training,
        step=state.step,
        epoch=state.epoch,
        signal=state.signal,
        key=jax.random.fold_in(state.key, state.step),
        params=state.params,
        model_state=state.model_state,
        opt_state=state.opt_state,
        metrics=state.metrics,
        batch=batch,
    )
    return alive, moment


def _below(moment: Moment, level: Signal, alive: Any) -> Any:
    """Whether nothing of `level` or above has been requested."""
    return True if alive is True else alive & (moment.signal < level)


def _forward(loop: Loop, states: HookStates, moment: Moment, alive: Any):
    """The model and its loss, with the events around them; differentiated in training."""
    pred, model_state = loop.apply(
        moment.params, moment.model_state, moment.batch, key=moment.key, training=moment.training
    )
    moment = moment.replace(pred=pred, model_state=model_state)
    active = _below(moment, Signal.SKIP_BATCH, alive)
    states, moment = fire(loop, "after_pred", states, moment, active)
    loss = mean_loss(loop.loss(moment.pred, moment.batch), moment.batch)
    moment = moment.replace(loss=jax.lax.stop_gradient(loss), objective=loss)
    active = _below(moment, Signal.SKIP_BATCH, alive)
    return fire(loop, "after_loss", states, moment, active)


def _gradient(loop: Loop, states: HookStates, moment: Moment, alive: Any):
    params = moment.params

    def objective(params: PyTree):
        new_states, new = _forward(loop, states, moment.replace(params=params), alive)
        opened = _below(new, Signal.SKIP_BATCH, alive)
        new = new.replace(metrics=_record_loss(new, opened))
        new_states, new = fire(loop, "before_backward", new_states, new, opened)
        return new.objective, (new_states, new.replace(params=None), opened)

    grads, (states, moment, opened) = jax.grad(objective, has_aux=True)(params)
    moment = moment.replace(params=params, grads=grads)
    if loop.hooks:
        cancelled = opened & (moment.signal == Signal.SKIP_BACKWARD)
        nothing = jax.tree.map(jnp.zeros_like, grads)
        moment = moment.replace(grads=choose(cancelled, nothing, grads))
        states, moment = fire(loop, "after_cancel_backward", states, moment, cancelled)
    states, moment = fire(loop, "after_backward", states, moment, opened)
    return states, drop(moment, Signal.SKIP_BACKWARD)


def drop(moment: Any, level: Signal) -> Any:
    """End the requests for `level` and for the levels inside it: it has closed."""
    signal = jnp.where(moment.signal <= level, jnp.int32(0), moment.signal)
    return moment.replace(signal=signal)


def _record_loss(moment: Moment, active: Any) -> Metrics:
    old = moment.metrics
    new = Metrics(
        average=SMOOTHING * old.average + (1 - SMOOTHING) * moment.loss.astype(jnp.float32),
        count=old.count + 1,
        sums=old.sums,
        weight=old.weight,
    )
    return choose(active, new, old)


def _optimizer_step(loop: Loop, states: HookStates, moment: Moment, alive: Any):
    opened = _below(moment, Signal.SKIP_BATCH, alive)
    states, moment = fire(loop, "before_step", states, moment, opened)
    wanted = _below(moment, Signal.SKIP_STEP, alive)
    extra = {"value": moment.objective, "grad": moment.grads}
    updates, opt_state = loop.tx.update(moment.grads, moment.opt_state, moment.params, **extra)
    before = moment
    moment = moment.replace(updates=updates, opt_state=opt_state)
    states, moment = fire(loop, "after_update", states, moment, wanted)
    wanted = _below(moment, Signal.SKIP_STEP, alive)
    params = choose(wanted, apply_updates(moment.params, moment.updates), before.params)
    opt_state = choose(wanted, moment.opt_state, before.opt_state)
    moment = moment.replace(params=params, opt_state=opt_state)
    if loop.hooks:
        cancelled = opened & (moment.signal == Signal.SKIP_STEP)
        states, moment = fire(loop, "after_cancel_step", states, moment, cancelled)
    states, moment = fire(loop, "after_step", states, moment, opened)
    return states, drop(moment, Signal.SKIP_STEP)


def _end(loop: Loop, state: TrainState, states: HookStates, moment: Moment, alive: Any):
    """Take the batch back if it was cut short, and close it."""
    whole = _below(moment, Signal.SKIP_BATCH, alive)
    moment = moment.replace(
        params=choose(whole, moment.params, state.params),
        model_state=choose(whole, moment.model_state, state.model_state),
        opt_state=choose(whole, moment.opt_state, state.opt_state),
    )
    if loop.hooks:
        cancelled = alive & (moment.signal == Signal.SKIP_BATCH)
        states, moment = fire(loop, "after_cancel_batch", states, moment, cancelled)
    states, moment = fire(loop, "after_batch", states, moment, alive)
    moment = drop(moment, Signal.SKIP_BATCH)
    return state.replace(
        signal=choose(alive, moment.signal, state.signal),
        params=moment.params,
        model_state=moment.model_state,
        opt_state=moment.opt_state,
        metrics=moment.metrics,
        hooks=states,
    )


def train_step(loop: Loop, state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    """One training batch: the state after it, and what to log of it.

    The log holds `loss` (NaN where the batch was cut short before it had one), `train_loss` (the
    smooth one), `signal`, `alive` (False where the phase was over already, and nothing happened),
    the hyperparameters that the step used, and what the hooks add.
    """
    alive, moment = _begin(loop, state, batch, training=True)
    states, moment = fire(loop, "before_batch", state.hooks, moment, alive)
    seen = state.metrics.count
    states, moment = _gradient(loop, states, moment, alive)
    states, moment = _optimizer_step(loop, states, moment, alive)
    new = _end(loop, state, states, moment, alive)
    one = jnp.asarray(alive, jnp.int32)
    new = new.replace(step=state.step + one, batch=state.batch + one)
    used = hyperparams(moment.opt_state)
    log = {
        "loss": jnp.where(new.metrics.count > seen, moment.loss, jnp.nan),
        "train_loss": new.metrics.train_loss,
        "signal": new.signal,
        "alive": jnp.asarray(alive),
    }
    return new, {**log, **used, **hook_logs(loop.hooks, states, used)}


def eval_step(loop: Loop, state: TrainState, batch: Any) -> TrainState:
    """One validation batch: adds weighted sums of the loss and of the metrics to the state."""
    alive, moment = _begin(loop, state, batch, training=False)
    states, moment = fire(loop, "before_batch", state.hooks, moment, alive)
    states, moment = _forward(loop, states, moment, alive)
    values = {"loss": loop.loss(moment.pred, moment.batch)}
    values |= {name: metric(moment.pred, moment.batch) for name, metric in loop.metrics.items()}
    values = {name: value.astype(jnp.float32) for name, value in values.items()}
    weight = _weight(moment.batch, values["loss"])
    old = moment.metrics
    sums = {name: old.sums[name] + jnp.sum(weight * value) for name, value in values.items()}
    new = Metrics(old.average, old.count, sums, old.weight + jnp.sum(weight))
    whole = _below(moment, Signal.SKIP_BATCH, alive)
    moment = moment.replace(metrics=choose(whole, new, old))
    return _end(loop, state, states, moment, alive)
