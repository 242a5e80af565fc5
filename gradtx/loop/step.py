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
from gradtx.loop.dispatch import HookStates, choose, dispatch
from gradtx.loop.events import Request
from gradtx.loop.loop import Loop, hook_logs
from gradtx.loop.state import SMOOTHING, Metrics, PyTree, StepContext, TrainState


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


def _begin(loop: Loop, state: TrainState, batch: Any, training: bool) -> tuple[Any, StepContext]:
    alive = state.requested < Request.END_PHASE if loop.hooks else True
    context = StepContext(
        training=training,
        step=state.step,
        epoch=state.epoch,
        requested=state.requested,
        key=jax.random.fold_in(state.key, state.step),
        params=state.params,
        model_state=state.model_state,
        opt_state=state.opt_state,
        metrics=state.metrics,
        batch=batch,
    )
    return alive, context


def _below(context: StepContext, level: Request, alive: Any) -> Any:
    """Whether nothing of `level` or above has been requested."""
    return True if alive is True else alive & (context.requested < level)


def _forward(loop: Loop, states: HookStates, context: StepContext, alive: Any):
    """The model and its loss, with the events around them; differentiated in training."""
    pred, model_state = loop.apply(
        context.params,
        context.model_state,
        context.batch,
        key=context.key,
        training=context.training,
    )
    context = context.replace(pred=pred, model_state=model_state)
    active = _below(context, Request.SKIP_BATCH, alive)
    states, context = dispatch(loop, "after_pred", states, context, active)
    loss = mean_loss(loop.loss(context.pred, context.batch), context.batch)
    context = context.replace(loss=jax.lax.stop_gradient(loss), objective=loss)
    active = _below(context, Request.SKIP_BATCH, alive)
    return dispatch(loop, "after_loss", states, context, active)


def _gradient(loop: Loop, states: HookStates, context: StepContext, alive: Any):
    params = context.params

    def objective(params: PyTree):
        new_states, new = _forward(loop, states, context.replace(params=params), alive)
        opened = _below(new, Request.SKIP_BATCH, alive)
        new = new.replace(metrics=_record_loss(new, opened))
        new_states, new = dispatch(loop, "before_backward", new_states, new, opened)
        return new.objective, (new_states, new.replace(params=None), opened)

    grads, (states, context, opened) = jax.grad(objective, has_aux=True)(params)
    context = context.replace(params=params, grads=grads)
    if loop.hooks:
        cancelled = opened & (context.requested == Request.SKIP_BACKWARD)
        nothing = jax.tree.map(jnp.zeros_like, grads)
        context = context.replace(grads=choose(cancelled, nothing, grads))
        states, context = dispatch(loop, "after_cancel_backward", states, context, cancelled)
    states, context = dispatch(loop, "after_backward", states, context, opened)
    return states, drop(context, Request.SKIP_BACKWARD)


def drop(context: Any, level: Request) -> Any:
    """End the requests for `level` and for the levels inside it: it has closed."""
    request = jnp.where(context.requested <= level, jnp.int32(0), context.requested)
    return context.replace(requested=request)


def _record_loss(context: StepContext, active: Any) -> Metrics:
    old = context.metrics
    new = Metrics(
        average=SMOOTHING * old.average + (1 - SMOOTHING) * context.loss.astype(jnp.float32),
        count=old.count + 1,
        sums=old.sums,
        weight=old.weight,
    )
    return choose(active, new, old)


def _optimizer_step(loop: Loop, states: HookStates, context: StepContext, alive: Any):
    opened = _below(context, Request.SKIP_BATCH, alive)
    states, context = dispatch(loop, "before_step", states, context, opened)
    wanted = _below(context, Request.SKIP_STEP, alive)
    extra = {"value": context.objective, "grad": context.grads}
    updates, opt_state = loop.tx.update(context.grads, context.opt_state, context.params, **extra)
    before = context
    context = context.replace(updates=updates, opt_state=opt_state)
    states, context = dispatch(loop, "after_update", states, context, wanted)
    wanted = _below(context, Request.SKIP_STEP, alive)
    params = choose(wanted, apply_updates(context.params, context.updates), before.params)
    opt_state = choose(wanted, context.opt_state, before.opt_state)
    context = context.replace(params=params, opt_state=opt_state)
    if loop.hooks:
        cancelled = opened & (context.requested == Request.SKIP_STEP)
        states, context = dispatch(loop, "after_cancel_step", states, context, cancelled)
    states, context = dispatch(loop, "after_step", states, context, opened)
    return states, drop(context, Request.SKIP_STEP)


def _end(loop: Loop, state: TrainState, states: HookStates, context: StepContext, alive: Any):
    """Take the batch back if it was cut short, and close it."""
    whole = _below(context, Request.SKIP_BATCH, alive)
    context = context.replace(
        params=choose(whole, context.params, state.params),
        model_state=choose(whole, context.model_state, state.model_state),
        opt_state=choose(whole, context.opt_state, state.opt_state),
    )
    if loop.hooks:
        cancelled = alive & (context.requested == Request.SKIP_BATCH)
        states, context = dispatch(loop, "after_cancel_batch", states, context, cancelled)
    states, context = dispatch(loop, "after_batch", states, context, alive)
    context = drop(context, Request.SKIP_BATCH)
    return state.replace(
        requested=choose(alive, context.requested, state.requested),
        params=context.params,
        model_state=context.model_state,
        opt_state=context.opt_state,
        metrics=context.metrics,
        hooks=states,
    )


def train_step(loop: Loop, state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    """One training batch: the state after it, and what to log of it.

    The log holds `loss` (NaN where the batch was cut short before it had one), `train_loss` (the
    smooth one), `request`, `alive` (False where the phase was over already, and nothing happened),
    the hyperparameters that the step used, and what the hooks add.
    """
    alive, context = _begin(loop, state, batch, training=True)
    states, context = dispatch(loop, "before_batch", state.hooks, context, alive)
    seen = state.metrics.count
    states, context = _gradient(loop, states, context, alive)
    states, context = _optimizer_step(loop, states, context, alive)
    new = _end(loop, state, states, context, alive)
    one = jnp.asarray(alive, jnp.int32)
    new = new.replace(step=state.step + one, batch=state.batch + one)
    used = hyperparams(context.opt_state)
    log = {
        "loss": jnp.where(new.metrics.count > seen, context.loss, jnp.nan),
        "train_loss": new.metrics.train_loss,
        "requested": new.requested,
        "alive": jnp.asarray(alive),
    }
    return new, {**log, **used, **hook_logs(loop.hooks, states, used)}


def eval_step(loop: Loop, state: TrainState, batch: Any) -> TrainState:
    """One validation batch: adds weighted sums of the loss and of the metrics to the state."""
    alive, context = _begin(loop, state, batch, training=False)
    states, context = dispatch(loop, "before_batch", state.hooks, context, alive)
    states, context = _forward(loop, states, context, alive)
    values = {"loss": loop.loss(context.pred, context.batch)}
    values |= {name: metric(context.pred, context.batch) for name, metric in loop.metrics.items()}
    values = {name: value.astype(jnp.float32) for name, value in values.items()}
    weight = _weight(context.batch, values["loss"])
    old = context.metrics
    sums = {name: old.sums[name] + jnp.sum(weight * value) for name, value in values.items()}
    new = Metrics(old.average, old.count, sums, old.weight + jnp.sum(weight))
    whole = _below(context, Request.SKIP_BATCH, alive)
    context = context.replace(metrics=choose(whole, new, old))
    return _end(loop, state, states, context, alive)
