"""Validation at other parameters than those that are trained."""

from collections.abc import Callable

from gradtx.core.tree import cast_like
from gradtx.loop.hook import Hook
from gradtx.loop.naming import named
from gradtx.loop.state import PyTree, StepContext

EVALUATION = "eval_params"


def evaluating_at(eval_params: Callable[[PyTree, PyTree], PyTree]) -> Hook:
    """The hook that puts the parameters of the evaluation in place while a fit validates.

        before_validate:  params, kept = eval_params(opt_state, params), params
        after_validate:   params, kept = kept, params

    So between two validations its state holds the parameters of the last one.

    Args:
        eval_params: function of the optimizer's state and the parameters.
    """

    def before_validate(kept: PyTree, context: StepContext):
        with named("Loop.eval_params", own=True):
            params = eval_params(context.opt_state, context.params)
        return context.params, context.replace(params=cast_like(params, context.params))

    def after_validate(kept: PyTree, context: StepContext):
        return context.params, context.replace(params=kept)

    on = {"before_validate": before_validate, "after_validate": after_validate}
    return Hook(EVALUATION, on, lambda state: state.params)
