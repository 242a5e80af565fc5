"""A bound on the size of the gradient."""

import math

import jax
import jax.numpy as jnp

from gradtx.core.tree import global_norm, shrink
from gradtx.kinds import Bound, checked
from gradtx.loop import Hook, StepContext


@checked
def clip_gradients(max_norm: Bound = 1.0) -> Hook:
    """Shrink all gradients together to a bounded Euclidean norm.

        norm = sqrt(sum_leaves sum_i g_i^2)        g' = g min(1, max_norm / norm)

    Runs on what the step is made of: after `loss_scaling` and `accumulate_gradients`. The state is
    the norm before clipping at the last step, float32[], which the steps' log has as
    `gradient_norm`. A norm that is not finite makes every gradient NaN. The transform
    `gradtx.clip_by_global_norm` clips inside an optimizer.

    Args:
        max_norm: the bound, positive; an infinite one only records.

    Raises:
        ValueError: if `max_norm` is not positive.

    Source: Pascanu et al. (2013), algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(
            f"clip_gradients: `max_norm` must be positive; got {max_norm}. Pass for example 1.0."
        )

    def before_step(state: jax.Array, context: StepContext):
        norm = global_norm(context.grads)
        if not math.isinf(max_norm):
            context = context.replace(grads=shrink(context.grads, norm, max_norm))
        return norm.astype(jnp.float32), context

    return Hook(
        "clip_gradients",
        {"before_step": before_step},
        init=lambda state: jnp.zeros((), jnp.float32),
        run_after=("loss_scaling", "accumulate_gradients"),
        log=lambda norm: {"gradient_norm": norm},
        requests=False,
    )
