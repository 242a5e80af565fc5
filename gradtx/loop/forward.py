"""A batch through the model and its loss, with the events around them."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.examples import count_examples
from gradtx.core.tangent import as_number, with_tangent_of
from gradtx.core.tree import compute_dtype
from gradtx.loop.calls import call_apply, call_loss
from gradtx.loop.dispatch import HookStates, dispatch
from gradtx.loop.loop import Loop
from gradtx.loop.metric import add_values, no_mean
from gradtx.loop.rule import goes_on
from gradtx.loop.state import StepContext
from gradtx.loop.weights import check_values, weight_of, weighted_sum, without_gaps


def mean_loss(loop: Loop, context: StepContext) -> StepContext:
    """Weighted mean of the losses of a batch, and what the batch counts for.

        loss = sum(weight losses) / sum(weight)        weight = 1 where the batch has none

    Args:
        loop: whose loss it is.
        context: with the batch and the prediction.
    """
    losses, counts, weight = losses_of(loop, context)
    losses = losses.astype(compute_dtype(losses))
    total = add_values(no_mean(), losses, counts, weight).weight
    safe = jnp.where(total > 0, total, 1).astype(losses.dtype)
    loss = weighted_sum(losses, weight) / safe
    return context.replace(loss=as_number(loss), objective=loss, weight=total)


def losses_of(
    loop: Loop, context: StepContext
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """The losses of a batch, their counts if the loss says them, and the batch's weights.

    Args:
        loop: whose loss it is.
        context: with the batch and the prediction.
    """
    losses, counts = call_loss(loop, context)
    count = count_of(loop, context.batch)
    own = loop.valid_loss is not None and not context.training
    name = "`valid_loss`" if own else "`loss`"
    for values in (losses,) if counts is None else (losses, counts):
        check_values(name, values, count, context.batch)
    return losses, counts, weight_of(context.batch, len(losses))


def count_of(loop: Loop, batch: Any) -> int | None:
    """The number of a batch's examples, if it says it.

    Args:
        loop: which may know the entry that does.
        batch: the batch.
    """
    return count_examples(batch, loop.examples, label=loop.label)


def forward(loop: Loop, states: HookStates, context: StepContext, active: Any):
    """The model and its loss, with the events around them; differentiated in training.

    Args:
        loop: whose model, loss and hooks are called.
        states: the hooks' states by name.
        context: with the batch.
        active: bool[] or a bool, whether the batch goes on.
    """
    weight = weight_of(context.batch, count_of(loop, context.batch))
    context = context.replace(batch=without_gaps(context.batch, weight))
    pred, model_state = call_apply(loop, context)
    context = context.replace(pred=pred, model_state=model_state)
    states, context = dispatch(loop, "after_pred", states, context, active)
    context = mean_loss(loop, context)
    loss = context.objective
    active = goes_on(loop, context.requested, "batch", active)
    states, context = dispatch(loop, "after_loss", states, context, active)
    # To hooks the loss is a number. Who differentiates the whole fit gets its derivative.
    return states, context.replace(loss=with_tangent_of(context.loss, loss))
