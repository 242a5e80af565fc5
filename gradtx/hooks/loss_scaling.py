"""Gradients in float16 that neither vanish nor overflow."""

import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.tree import all_finite, compute_dtype, select
from gradtx.kinds import Between, Count, Positive, checked, finite
from gradtx.loop import Hook, Request, StepContext

SMALLEST = 2.0**-24
FAULT = "batches skipped, not finite at any loss scale"
FALLEN = 10  # times that the scale is cut, more than it grows, until it is said to fall
Growth = Annotated[float, finite("a finite number above 1", lambda x: x > 1)]


class ScalingState(NamedTuple):
    """The scale, since when it has held, and what no scale has helped."""

    scale: jax.Array  # float32[]
    good: jax.Array  # int32[]: batches without overflow since the scale last changed
    skipped: jax.Array  # int32[]: batches with one, in all
    in_vain: jax.Array  # int32[]: of these, those that no scale would have helped
    in_a_row: jax.Array  # int32[]: such batches since the last good one of this fit
    lost: jax.Array  # int32[]: batches with an overflow in this fit
    through: jax.Array  # bool[]: whether a batch of this fit had none
    gave_up: jax.Array  # bool[]: whether it has given this fit up
    step: jax.Array  # int32[]: of the last overflow of this fit, or -1


@checked
def loss_scaling(
    *,
    initial: Positive = 2.0**16,
    growth: Growth = 2.0,
    backoff: Between = 0.5,
    interval: Count = 2000,
    max_in_a_row: Count = 5,
) -> Hook:
    """Scale the loss before the gradient is taken, and the gradient back; skip what overflows.

        before_backward:  objective' = scale objective
        after_backward:   g' = g / scale
        overflow:         SKIP_BATCH, scale' = backoff scale, good' = 0
        otherwise:        good' = good + 1; at `interval`, scale' = growth scale and good' = 0
        give up:          END_FIT after `max_in_a_row` overflows that no scale helps

    An overflow is a loss or a gradient that is not finite. The batch that had it leaves parameters,
    moments and batch statistics as they were, bit for bit. So a schedule inside the optimizer
    waits, while one of `schedule_hyperparams`, which counts batches, goes on. A penalty must be
    added to the objective at after_loss, to be scaled with the rest. The scale, float32[], stays
    finite and is never below 2^-24. Put this hook before those of your own that look at gradients.

    A scale that has been cut ten times more than it grew is said to be falling, among the faults.

    No scale helps against an overflow at the smallest one, nor against a loss that is not finite
    before it is scaled. The loop counts such batches among its faults. The fit has failed after
    `max_in_a_row` of them without a good batch between, and also if every batch of it overflowed.

    Args:
        initial: the first scale, positive.
        growth: factor of the scale after `interval` batches without overflow, above 1.
        backoff: factor of the scale after an overflow, in (0, 1).
        interval: batches without overflow until the scale grows, at least 1.
        max_in_a_row: overflows that no scale helps, without a good batch between them, that end the
            fit, at least 1.

    Raises:
        ValueError: if an argument is out of range.

    Source: Micikevicius et al. (2018), section 3.2; the numbers are those of PyTorch's GradScaler.
    """

    def before_fit(state: ScalingState, context: StepContext):
        return state._replace(**_fresh()), context

    def next_scale(state: ScalingState, overflow: jax.Array) -> ScalingState:
        good = state.good + 1
        due = good >= interval
        larger = state.scale * growth
        grown = jnp.where(due & jnp.isfinite(larger), larger, state.scale)
        smaller = jnp.maximum(state.scale * backoff, SMALLEST)
        return state._replace(
            scale=jnp.where(overflow, smaller, grown), good=jnp.where(overflow | due, 0, good)
        )

    def skip(state: ScalingState, context: StepContext, overflow: jax.Array, vain: jax.Array):
        one, in_vain = overflow.astype(jnp.int32), (overflow & vain).astype(jnp.int32)
        in_a_row = state.in_a_row + in_vain
        over = overflow & vain & (in_a_row >= max_in_a_row)
        state = state._replace(
            skipped=state.skipped + one,
            in_vain=state.in_vain + in_vain,
            in_a_row=in_a_row,
            lost=state.lost + one,
            gave_up=state.gave_up | over,
            step=jnp.where(overflow, context.step, state.step),
        )
        context = context.request(Request.SKIP_BATCH, overflow)
        return state, context.request(Request.END_FIT, over)

    def after_loss(state: ScalingState, context: StepContext):
        if not context.training:
            return state, context
        overflow = ~jnp.isfinite(context.objective) & (context.requested < Request.SKIP_BATCH)
        state = select(overflow, next_scale(state, overflow), state)
        return skip(state, context, overflow, jnp.asarray(True))

    def before_backward(state: ScalingState, context: StepContext):
        scale = state.scale.astype(context.objective.dtype)
        return state, context.replace(objective=context.objective * scale)

    def after_backward(state: ScalingState, context: StepContext):
        back = lambda x: (x.astype(compute_dtype(x)) / state.scale).astype(x.dtype)
        grads = jax.tree.map(back, context.grads)
        overflow = ~all_finite(grads)
        context = context.replace(grads=grads, objective=back(context.objective))
        vain = state.scale <= SMALLEST
        state, context = skip(next_scale(state, overflow), context, overflow, vain)
        in_a_row = jnp.where(overflow, state.in_a_row, 0)
        return state._replace(in_a_row=in_a_row, through=state.through | ~overflow), context

    def after_fit(state: ScalingState, context: StepContext):
        nothing = (state.lost > 0) & ~state.through
        # Of the batches of such a fit, those in a row are counted already.
        in_vain = state.in_vain + jnp.where(nothing, state.lost - state.in_a_row, 0)
        return state._replace(in_vain=in_vain, gave_up=state.gave_up | nothing), context

    def faults(state: ScalingState) -> dict[str, Any]:
        cut = math.log(float(state.scale) / initial) / math.log(backoff)
        falling = {} if cut < FALLEN - 0.5 else {"loss scale is falling": round(cut)}
        return {FAULT: state.in_vain} | falling

    on = {
        "before_fit": before_fit,
        "after_loss": after_loss,
        "before_backward": before_backward,
        "after_backward": after_backward,
        "after_fit": after_fit,
    }

    def init(state: Any) -> ScalingState:
        zero = lambda: jnp.zeros((), jnp.int32)
        scale = jnp.full((), initial, jnp.float32)
        return ScalingState(scale, zero(), zero(), zero(), **_fresh())

    return Hook(
        "loss_scaling",
        on,
        init,
        run_after=("rnn_regularizer",),
        faults=faults,
        failed=lambda state: state.gave_up,
        reason=_reason,
    )


def _fresh() -> dict[str, jax.Array]:
    """What a fit begins anew."""
    zero = lambda dtype: jnp.zeros((), dtype)
    counts = {"in_a_row": zero(jnp.int32), "lost": zero(jnp.int32)}
    step = jnp.full((), -1, jnp.int32)
    return counts | {"through": zero(bool), "gave_up": zero(bool), "step": step}


def _reason(state: ScalingState) -> str:
    if bool(state.through):
        what = f"{int(state.in_a_row)} batches in a row were not finite at any loss scale"
    else:
        what = "no batch had a finite loss and gradient at the loss scale"
    return f"{what}, until step {int(state.step)}"
