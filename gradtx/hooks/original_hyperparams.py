"""The hyperparameters from before a fit, put back by a hook that has changed them."""

from typing import Any

from gradtx.core.runtime_hyperparams import set_hyperparams
from gradtx.loop import StepContext


def put_back(context: StepContext, originals: dict[str, Any]) -> StepContext:
    """`context` with other hyperparameters for the optimizer.

        opt_state' = set_hyperparams(opt_state, **originals)

    Args:
        context: at an event outside a batch.
        originals: what `values_named` has read before.
    """
    return context.replace(opt_state=set_hyperparams(context.opt_state, **originals))
