"""End a fit that has diverged, before it spoils the parameters."""

import jax
import jax.numpy as jnp

from gradtx.core.tree import all_finite
from gradtx.kinds import checked
from gradtx.loop import Hook, Request, StepContext

FAULT = "runs ended by a loss that is not finite"


@checked
def terminate_on_nan(*, gradients: bool = True) -> Hook:
    """End the fit at the first NaN or infinite loss or gradient, before parameters change.

        after_loss:      END_FIT if loss is not finite
        after_backward:  END_FIT if a gradient is not finite

    Losses are those of training and of validation. A batch that another hook has given up already
    (`loss_scaling`, `skip_nonfinite`) is none of this hook's business. Parameters, optimizer and
    batch statistics stay as they were before that batch, and its loss is not recorded. The state is
    the step at which it happened, int32[], or -1; the fit has failed if there is one.

    Args:
        gradients: whether gradients are tested too.
    """

    def check(step: jax.Array, context: StepContext, finite: jax.Array):
        bad = ~finite & (context.requested < Request.SKIP_BATCH)
        first = bad & (step < 0)
        return jnp.where(first, context.step, step), context.request(Request.END_FIT, bad)

    on = {
        "before_fit": lambda step, context: (jnp.full_like(step, -1), context),
        "after_loss": lambda step, context: check(step, context, jnp.isfinite(context.objective)),
    }
    if gradients:
        on["after_backward"] = lambda step, context: check(step, context, all_finite(context.grads))
    return Hook(
        "terminate_on_nan",
        on,
        init=lambda state: jnp.full((), -1, jnp.int32),
        run_after=("loss_scaling", "skip_nonfinite", "rnn_regularizer"),
        faults=lambda step: {FAULT: (step >= 0).astype(jnp.int32)},
        failed=lambda step: step >= 0,
        reason=lambda step: f"the loss was not finite at step {int(step)}",
    )
