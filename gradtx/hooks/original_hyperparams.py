"""The hyperparameters from before a fit: read by a hook that changes them, and put back by it."""

from typing import Any

from gradtx.core.runtime_hyperparams import hyperparams, set_hyperparams
from gradtx.loop import StepContext


def values_named(opt_state: Any, *names: str) -> dict[str, Any]:
    """The hyperparameters that `names` mean, by their unambiguous names.

        values_named(state, "decay") = {"ema.decay": ..., "scale_by_rms.decay": ...}

    Args:
        opt_state: any pytree that holds states of gradtx.
        names: as `set_hyperparams` takes them; a bare one means all that are called so.
    """
    values = hyperparams(opt_state)
    return {full: x for full, x in values.items() if {full, full.rpartition(".")[2]} & set(names)}


def put_back(context: StepContext, originals: dict[str, Any]) -> StepContext:
    """`context` with other hyperparameters for the optimizer.

        opt_state' = set_hyperparams(opt_state, **originals)

    Args:
        context: at an event outside a batch.
        originals: what `values_named` has read before.
    """
    return context.replace(opt_state=set_hyperparams(context.opt_state, **originals))
