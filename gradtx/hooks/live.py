"""Reading live hyperparameters by a bare name, and putting them back."""

from typing import Any

from gradtx.core.runtime_hyperparams import hyperparams, set_hyperparams
from gradtx.loop import StepContext


def named(opt_state: Any, *names: str) -> dict[str, Any]:
    """The hyperparameters that `names` mean, by their unambiguous names."""
    values = hyperparams(opt_state)
    return {full: x for full, x in values.items() if {full, full.rpartition(".")[2]} & set(names)}


def restore(context: StepContext, originals: dict[str, Any]) -> StepContext:
    """`context` with the values that `named` has read before."""
    return context.replace(opt_state=set_hyperparams(context.opt_state, **originals))
