"""Leave out single batches that would spoil the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.tree import all_finite
from gradtx.kinds import Natural, checked
from gradtx.loop import Hook, Request, StepContext


class SkipState(NamedTuple):
    """How many batches were left out."""

    skipped: jax.Array  # int32[]: in all
    in_a_row: jax.Array  # int32[]
    gave_up: jax.Array  # bool[]: whether it has ended this fit
    step: jax.Array  # int32[]: of the last one, or -1


@checked
def skip_nonfinite(*, max_in_a_row: Natural = 5) -> Hook:
    """Skip a training batch whose loss or gradient is NaN or infinite; give up after too many.

        after_loss, after_backward:  in_a_row' = in_a_row + 1 if not finite else 0
                                     SKIP_BATCH if not finite, END_FIT if in_a_row' = max_in_a_row

    A skipped batch leaves parameters, optimizer and batch statistics as they were. A fit begins
    with none in a row. The hook counts skipped batches among the loop's faults, and the fit has
    failed when it gives up.

    Args:
        max_in_a_row: skipped batches without another between them that end the fit, at least 1.

    Raises:
        ValueError: if `max_in_a_row` is below 1.
    """
    if max_in_a_row < 1:
        raise ValueError(
            f"skip_nonfinite: `max_in_a_row` must be at least 1; got {max_in_a_row}. Use"
            " terminate_on_nan to stop at the first."
        )

    fresh = lambda: (jnp.zeros((), jnp.int32), jnp.zeros((), bool), jnp.full((), -1, jnp.int32))

    def skip(state: SkipState, context: StepContext, bad: jax.Array):
        one = bad.astype(jnp.int32)
        skipped, in_a_row = state.skipped + one, state.in_a_row + one
        over = bad & (in_a_row >= max_in_a_row)
        context = context.request(Request.SKIP_BATCH, bad)
        step = jnp.where(bad, context.step, state.step)
        state = SkipState(skipped, in_a_row, state.gave_up | over, step)
        return state, context.request(Request.END_FIT, over)

    def before_fit(state: SkipState, context: StepContext):
        return SkipState(state.skipped, *fresh()), context

    def after_loss(state: SkipState, context: StepContext):
        if not context.training:
            return state, context
        return skip(state, context, ~jnp.isfinite(context.objective))

    def after_backward(state: SkipState, context: StepContext):
        open_ = context.requested < Request.SKIP_BATCH
        bad = open_ & ~all_finite(context.grads)
        state, context = skip(state, context, bad)
        in_a_row = jnp.where(open_ & ~bad, 0, state.in_a_row)
        return state._replace(in_a_row=in_a_row), context

    return Hook(
        "skip_nonfinite",
        {"before_fit": before_fit, "after_loss": after_loss, "after_backward": after_backward},
        init=lambda state: SkipState(jnp.zeros((), jnp.int32), *fresh()),
        run_after=("loss_scaling", "rnn_regularizer"),
        faults=lambda state: {"batches skipped, not finite": state.skipped},
        failed=lambda state: state.gave_up,
        reason=_reason,
    )


def _reason(state: SkipState) -> str:
    count, step = int(state.in_a_row), int(state.step)
    return f"{count} batches in a row were not finite, until step {step}"
