"""Validation at other parameters than those that are trained."""

from collections.abc import Callable

import jax

from gradtx.core.state import states_in
from gradtx.core.tree import cast_like
from gradtx.loop.hook import Hook
from gradtx.loop.naming import named
from gradtx.loop.state import PyTree, StepContext

EVALUATION = "eval_params"
# Optimizers whose parameters are not where the model is best, by the names of their states.
AVERAGING = ("schedule_free", "ema_params", "ema_params_debiased", "ScheduleFreeState")
AT_TRAINING = "validation is the training point, not the average: give the loop eval_params"


def evaluating_at(eval_params: Callable[[PyTree, PyTree], PyTree]) -> Hook:
    """The hook that puts the parameters of the evaluation in place while a fit validates.

        before_fit, after_batch, after_epoch:  kept = eval_params(opt_state, params)
        before_validate:                       params, kept = eval_params(opt_state, params), params
        after_validate:                        params = kept

    So between two batches of training, and between two epochs, its state holds the parameters at
    which to predict; a checkpoint needs no optimizer for that.

    Args:
        eval_params: function of the optimizer's state and the parameters.
    """

    def of(context: StepContext) -> PyTree:
        with named("Loop.eval_params", own=True):
            params = eval_params(context.opt_state, context.params)
        return cast_like(params, context.params)

    def before_validate(kept: PyTree, context: StepContext):
        return context.params, context.replace(params=of(context))

    def after_validate(kept: PyTree, context: StepContext):
        return kept, context.replace(params=kept)

    def keep(kept: PyTree, context: StepContext):
        return of(context), context

    def after_batch(kept: PyTree, context: StepContext):
        return keep(kept, context) if context.training else (kept, context)

    on = {
        "before_fit": keep,
        "after_batch": after_batch,
        "before_validate": before_validate,
        "after_validate": after_validate,
        "after_epoch": keep,
    }
    return Hook(EVALUATION, on, lambda state: state.params, requests=False)


def at_training_point(opt_state: PyTree) -> bool:
    """Whether an optimizer keeps an average of the parameters, where the model is to be evaluated.

    Args:
        opt_state: its state.
    """
    names = {state.name for _, state in states_in(opt_state)}
    found: list[str] = []
    look = lambda node: bool(found.append(type(node).__name__))  # and what is inside is seen too
    jax.tree.leaves(opt_state, is_leaf=look)
    return bool({*names, *found} & {*AVERAGING})
