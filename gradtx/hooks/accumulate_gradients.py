"""Optimizer steps over more examples than fit into one batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.tree import cast_like, upcast
from gradtx.kinds import Count, checked
from gradtx.loop import Hook, Request, StepContext
from gradtx.loop.weights import batch_weight


class AccumulateState(NamedTuple):
    """The sum so far."""

    total: Any  # like the gradients, at least float32: sum of examples times mean gradient
    examples: jax.Array  # float32[]: sum of weights


@checked
def accumulate_gradients(examples: Count) -> Hook:
    """Step once enough examples have been seen, with the mean gradient over all of them.

        before_step:  total' = total + n g        seen' = seen + n        n = weight of the batch
                      if seen' >= examples:  g' = total' / seen', and both start anew
                      else:                  SKIP_STEP

    `n` is the sum of the batch's "weight", or its number of examples as the loop counts them. So
    the step is that of one large batch, also where batches differ in size or `examples` is no
    multiple of it. Batch statistics are updated by every batch. What is left at the end of an epoch
    goes into the next; what is left at the end of the fit is dropped. A batch whose step another
    hook has skipped doesn't count. The total is kept in at least float32.

    Args:
        examples: for one step, at least 1; a sum of weights where batches have them.

    Raises:
        ValueError: if `examples` is below 1.
    """
    if examples < 1:
        raise ValueError(
            f"accumulate_gradients: `examples` must be at least 1; got {examples}. Pass the number"
            " of examples for one step, such as 4 * batch_size."
        )

    def init(state: Any) -> AccumulateState:
        zeros = jax.tree.map(jnp.zeros_like, upcast(state.params))
        return AccumulateState(zeros, jnp.zeros((), jnp.float32))

    def before_fit(state: AccumulateState, context: StepContext):
        return jax.tree.map(jnp.zeros_like, state), context

    def before_step(state: AccumulateState, context: StepContext):
        counts = context.requested < Request.SKIP_STEP
        n = batch_weight(context.batch) if context.weight is None else context.weight
        add = lambda total, g: total + n.astype(total.dtype) * g.astype(total.dtype)
        total = jax.tree.map(add, state.total, context.grads)
        seen = state.examples + n
        full = seen >= examples
        mean = jax.tree.map(lambda t: t / jnp.maximum(seen, 1e-12).astype(t.dtype), total)
        grads = cast_like(mean, context.grads)
        start = jax.tree.map(lambda x: jnp.where(full, 0, x), AccumulateState(total, seen))
        new = jax.tree.map(lambda a, b: jnp.where(counts, a, b), start, state)
        return new, context.replace(grads=grads).request(Request.SKIP_STEP, ~full)

    return Hook(
        "accumulate_gradients",
        {"before_fit": before_fit, "before_step": before_step},
        init,
        run_after=("loss_scaling", "skip_nonfinite", "terminate_on_nan"),
    )
