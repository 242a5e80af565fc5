"""One batch, as a pure function of the state: the events, the gradient, the optimizer's step.

What a request skips is computed all the same and then left out by a select, which costs nothing
while nothing is skipped and keeps the host loop and the compiled epoch the same program.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.apply import apply_updates
from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.kinds import checked
from gradtx.loop.again import Again
from gradtx.loop.calls import call_metrics, call_update
from gradtx.loop.dispatch import HookStates, choose, dispatch
from gradtx.loop.forward import count_of, forward, losses_of
from gradtx.loop.hook_logs import hook_logs
from gradtx.loop.loop import Loop
from gradtx.loop.metric import add_values
from gradtx.loop.microbatches import Gradient, accumulated
from gradtx.loop.prepared import prepared
from gradtx.loop.rule import (
    Part,
    close_level,
    goes_on,
    is_cancelled,
    level,
    open_level,
    run_parts,
)
from gradtx.loop.state import (
    SMOOTHING,
    Metrics,
    PyTree,
    StepContext,
    TrainState,
    context_of,
    with_changes,
)
from gradtx.loop.weights import as_weights, total_weight, weight_of
from gradtx.parallel.axes import explained


def _backward(loop: Loop, states: HookStates, context: StepContext, active: Any):
    """The gradient. The level opens inside of what is differentiated, and closes outside."""
    params = context.params
    if loop.microbatches == 1:
        of = _gradient(loop, _with_loss, active)
        grads, states, context, opened = of(states, context)
    else:
        of = _gradient(loop, lambda seen: seen.metrics, active)
        grads, states, new, (opened, whole) = _in_parts(loop, of, states, context)
        counted = whole & (new.weight > 0)
        metrics = choose(counted, _with_loss(new), context.metrics)
        context = new.replace(metrics=metrics)
    grads = jax.tree.map(_uphill, grads)
    cancelled = is_cancelled(loop, context.requested, "backward", opened)
    grads = choose(cancelled, jax.tree.map(jnp.zeros_like, grads), grads)
    context = context.replace(params=params, grads=grads)
    return close_level(loop, "backward", states, context, opened)


def _gradient(loop: Loop, recorded: Callable[[StepContext], Metrics], active: Any) -> Gradient:
    """A function that differentiates a batch and keeps the figures `recorded`, where it counts."""

    def gradient(states: HookStates, context: StepContext):
        def objective(params: PyTree):
            mine, seen = forward(loop, states, context.replace(params=params), active)
            opened = goes_on(loop, seen.requested, "batch", active)
            counted = opened & (seen.weight > 0)
            new = _with_train_metrics(loop, seen, recorded(seen))
            seen = seen.replace(metrics=choose(counted, new, seen.metrics))
            mine, seen = open_level(loop, "backward", mine, seen, opened)
            return seen.objective, (mine, seen.replace(params=None), opened)

        grads, (mine, seen, opened) = jax.grad(objective, has_aux=True)(context.params)
        return grads, mine, seen, opened

    return gradient


def _objective(loop: Loop, states: HookStates, context: StepContext, active: Any) -> jax.Array:
    """What is differentiated, without its gradient."""
    if loop.microbatches == 1:
        return forward(loop, states, context, active)[1].objective
    of = lambda states, context: ((), *forward(loop, states, context, active), True)
    return _in_parts(loop, of, states, context)[2].objective


def _in_parts(loop: Loop, of: Gradient, states: HookStates, context: StepContext):
    """`accumulated` over the microbatches of the loop."""
    count = count_of(loop, context.batch)
    if count is None:
        raise ValueError(
            "Loop: `microbatches` needs a batch that says how many examples it has; got arrays of"
            ' different lengths, and neither "weight" nor "label". Name an entry that has one value'
            " for each example by Loop(examples=...)."
        )
    return accumulated(of, states, context, parts=loop.microbatches, count=count)


def _uphill(grad: jax.Array) -> jax.Array:
    """The direction in which the loss rises: of a complex parameter JAX gives its conjugate."""
    return jnp.conj(grad) if jnp.iscomplexobj(grad) else grad


def _with_loss(context: StepContext) -> Metrics:
    """The running figures with the loss of this batch."""
    old, loss = context.metrics, context.loss.astype(jnp.float32)
    return replace(
        old,
        average=SMOOTHING * old.average + (1 - SMOOTHING) * loss,
        count=old.count + 1,
        train_sum=old.train_sum + context.weight * loss,
        train_weight=old.train_weight + context.weight,
    )


def _with_train_metrics(loop: Loop, context: StepContext, metrics: Metrics) -> Metrics:
    """The running figures with the training's metrics of this batch."""
    if not loop.train_metrics:
        return metrics
    fixed = context.replace(pred=jax.lax.stop_gradient(context.pred))
    count = jax.eval_shape(lambda: losses_of(loop, context)[0]).shape[0]
    weight = as_weights(weight_of(context.batch), count)
    states = call_metrics(loop, "train_metrics", metrics.train_states, fixed, weight)
    return replace(metrics, train_states=states)


def _step(begun: tuple[HookStates, StepContext, Any]) -> Part:
    """The optimizer's step, with the events around it, of a batch that has begun so."""
    states, context, active = begun

    def again(loop: Loop) -> Again:
        at = lambda params: context.replace(params=params)
        return Again(
            value=lambda params: _objective(loop, states, at(params), active),
            grads=lambda params: _backward(loop, states, at(params), active)[1].grads,
        )

    def part(loop: Loop, states: HookStates, context: StepContext, active: Any):
        return level(loop, "step", states, context, active, partial(_update, again(loop)))

    return part


def _update(again: Again, loop: Loop, states: HookStates, before: StepContext, active: Any):
    """The optimizer's update and, unless a hook skips the step even now, its application."""
    updates, opt_state = call_update(loop, before, again)
    context = before.replace(updates=updates, opt_state=opt_state)
    states, context = dispatch(loop, "after_update", states, context, active)
    made = goes_on(loop, context.requested, "step", active)
    params = choose(made, apply_updates(context.params, context.updates), before.params)
    opt_state = choose(made, context.opt_state, before.opt_state)
    return states, context.replace(params=params, opt_state=opt_state)


def _measure(loop: Loop, states: HookStates, context: StepContext, active: Any):
    """Add the loss and the metrics of a validation batch to the running ones."""
    losses, counts, weight = losses_of(loop, context)
    old = context.metrics
    mean = add_values(old.states["loss"].state, losses, counts, weight)
    new = {"loss": replace(old.states["loss"], state=mean)}
    new |= call_metrics(loop, "metrics", old.states, context, as_weights(weight, len(losses)))
    total = old.weight + total_weight(weight, len(losses))
    new = replace(old, states=new, weight=total)
    return states, context.replace(metrics=choose(active, new, old))


def _restore(state: TrainState) -> Part:
    """A part that takes a batch back if it was cut short: all is again as in `state`."""

    def part(loop: Loop, states: HookStates, context: StepContext, active: Any):
        return states, context.replace(
            params=choose(active, context.params, state.params),
            model_state=choose(active, context.model_state, state.model_state),
            opt_state=choose(active, context.opt_state, state.opt_state),
        )

    return part


@checked
@explained("train_step")
def train_step(loop: Loop, state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    """One training batch: the state after it, and what to log of it.

        batch = before_batch, backward, step, after_batch        (the levels of gradtx.loop.rule)

    A loss counts if the batch was not asked to end before `before_backward`, and weighs more than
    0: then it is in the smooth loss, in the epoch's mean and in the log, else in none of them.

    The log holds `loss`, `train_loss` (the smooth one), `requested`, `alive` (False where the phase
    was over already, and nothing happened), the hyperparameters that the step used, what the hooks
    add, and `known`, which says of the two losses whether they have a value: without one they are
    0, and NaN in `with_nan(log)`. What hooks log only sometimes is under `sampled`, packed: see
    `gradtx.loop.sampled`.

    Args:
        loop: what is trained.
        state: one in the training phase of an epoch, as `open_epoch` or a step has left it.
        batch: a pytree with a leading axis of examples, as the loop's `apply` and `loss` take it.
    """
    batch = prepared(loop, state, batch, training=True)
    # XLA would fuse the step with what surrounds it, and so round differently where the step is
    # alone (the host loop) than where it is in a scan (the compiled fit). With the barrier both
    # are the same by the bit.
    state, batch = jax.lax.optimization_barrier((state, batch))
    active = goes_on(loop, state.requested, "train")
    context = context_of(state, training=True, batch=batch)
    states, context = open_level(loop, "batch", state.hooks, context, active)
    step = _step((states, context, active))
    states, context = run_parts(loop, "batch", states, context, active, _backward, step)
    # What a batch that was cut short has used is logged as well.
    used, loss = hyperparams(context.opt_state), context.loss
    more = hook_logs(loop.hooks, states, used)
    states, context = run_parts(loop, "batch", states, context, active, _restore(state))
    states, context = close_level(loop, "batch", states, context, active)
    one = jnp.asarray(active, jnp.int32)
    new = with_changes(state, states, context)
    new = new.replace(step=state.step + one, batch=state.batch + one)
    counted = new.metrics.count > state.metrics.count
    known = {"loss": counted, "train_loss": new.metrics.count > 0}
    log = {
        "loss": jnp.where(counted, loss, 0),
        "train_loss": new.metrics.smooth,
        "requested": new.requested,
        "alive": jnp.asarray(active),
        "known": known,
    }
    return new, {**log, **used, **more}


@checked
@explained("eval_step")
def eval_step(loop: Loop, state: TrainState, batch: Any) -> TrainState:
    """One validation batch: adds it to the loss and the metrics of the validation.

        state_m' = update_m(state_m, pred, batch, weight)        for each metric m, and the loss

    Args:
        loop: what is trained.
        state: one in the validation phase of an epoch, as `close_train` or a step has left it.
        batch: a pytree with a leading axis of examples; of the last one of a validation set the
            examples that only fill it up have the weight 0.
    """
    active = goes_on(loop, state.requested, "validate")
    batch = prepared(loop, state, batch, training=False)
    context = context_of(state, training=False, batch=batch)
    parts = forward, _measure, _restore(state)
    return with_changes(state, *level(loop, "batch", state.hooks, context, active, *parts))
