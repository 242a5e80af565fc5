"""Gradients in float16 that neither vanish nor overflow."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.tree import all_finite, compute_dtype
from gradtx.loop import Hook, Request, StepContext

SMALLEST = 2.0**-24


class ScalingState(NamedTuple):
    """The scale, and since when it has held."""

    scale: jax.Array  # float32[]
    good: jax.Array  # int32[]: batches without overflow since the scale last changed
    skipped: jax.Array  # int32[]: batches with one, in all


def loss_scaling(
    *,
    initial: float = 2.0**16,
    growth: float = 2.0,
    backoff: float = 0.5,
    interval: int = 2000,
) -> Hook:
    """Scale the loss before the gradient is taken, and the gradient back; skip what overflows.

        before_backward:  objective' = scale objective
        after_backward:   g' = g / scale
        overflow:         SKIP_BATCH, scale' = backoff scale, good' = 0
        otherwise:        good' = good + 1; at `interval`, scale' = growth scale and good' = 0

    An overflow is a loss or a gradient that is not finite. The batch that had it leaves parameters,
    moments and batch statistics as they were, bit for bit. So a schedule inside the optimizer
    waits, while one of `schedule_hyperparams`, which counts batches, goes on. A penalty must be
    added to the objective at after_loss, to be scaled with the rest. The scale, float32[], stays
    finite and is never below 2^-24. Put this hook before those of your own that look at gradients.

    Args:
        initial: the first scale, positive.
        growth: factor of the scale after `interval` batches without overflow, above 1.
        backoff: factor of the scale after an overflow, in (0, 1).
        interval: batches without overflow until the scale grows, at least 1.

    Raises:
        ValueError: if an argument is out of range.

    Source: Micikevicius et al. (2018), section 3.2; the numbers are those of PyTorch's GradScaler.
    """
    _check(initial, growth, backoff, interval)

    def next_state(state: ScalingState, overflow: jax.Array) -> ScalingState:
        good = state.good + 1
        due = good >= interval
        larger = state.scale * growth
        grown = jnp.where(due & jnp.isfinite(larger), larger, state.scale)
        smaller = jnp.maximum(state.scale * backoff, SMALLEST)
        return ScalingState(
            scale=jnp.where(overflow, smaller, grown),
            good=jnp.where(overflow | due, 0, good),
            skipped=state.skipped + overflow.astype(jnp.int32),
        )

    def after_loss(state: ScalingState, context: StepContext):
        if not context.training:
            return state, context
        overflow = ~jnp.isfinite(context.objective) & (context.requested < Request.SKIP_BATCH)
        shrunk = next_state(state, overflow)
        state = jax.tree.map(lambda a, b: jnp.where(overflow, a, b), shrunk, state)
        return state, context.request(Request.SKIP_BATCH, overflow)

    def before_backward(state: ScalingState, context: StepContext):
        scale = state.scale.astype(context.objective.dtype)
        return state, context.replace(objective=context.objective * scale)

    def after_backward(state: ScalingState, context: StepContext):
        back = lambda x: (x.astype(compute_dtype(x)) / state.scale).astype(x.dtype)
        grads = jax.tree.map(back, context.grads)
        overflow = ~all_finite(grads)
        context = context.replace(grads=grads, objective=back(context.objective))
        return next_state(state, overflow), context.request(Request.SKIP_BATCH, overflow)

    on = {
        "after_loss": after_loss,
        "before_backward": before_backward,
        "after_backward": after_backward,
    }
    zero = lambda: jnp.zeros((), jnp.int32)
    init = lambda state: ScalingState(jnp.full((), initial, jnp.float32), zero(), zero())
    return Hook("loss_scaling", on, init, run_after=("rnn_regularizer",))


def _check(initial: float, growth: float, backoff: float, interval: int) -> None:
    if not (initial > 0 and growth > 1 and 0 < backoff < 1 and interval >= 1):
        raise ValueError(
            "loss_scaling: must have initial > 0, growth > 1, backoff in (0, 1), interval >= 1; got"
            f" {initial}, {growth}, {backoff}, {interval}. The defaults suit float16."
        )
