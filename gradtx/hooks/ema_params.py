"""A moving average of the parameters beside them."""

from typing import Any, NamedTuple

import jax

from gradtx.core.tree import cast_like, select, upcast
from gradtx.kinds import checked
from gradtx.loop import Hook, Request, StepContext, TrainState


class EmaState(NamedTuple):
    """The average, and during validation the parameters that it stands in for."""

    average: Any  # like the parameters, at least float32
    params: Any  # like the parameters; () if they are not replaced


@checked
def ema_params(decay: float = 0.999, *, validate: bool = True) -> Hook:
    """Keep an exponential moving average of the parameters, and validate with it.

        after_step:  average' = decay average + (1 - decay) params        average_0 = params

    The average is kept in at least float32, and moves only when a step was made. `averaged_params`
    reads it. Batch statistics remain those of the parameters.

    Args:
        decay: share of the average that stays, in [0, 1).
        validate: whether the average takes the parameters' place during validation.

    Raises:
        ValueError: if `decay` is outside [0, 1).

    Source: Polyak and Juditsky (1992) for averaging; the exponential form from Tarvainen and
    Valpola (2017).
    """
    if not 0 <= decay < 1:
        raise ValueError(
            f"ema_params: `decay` must be in [0, 1); got {decay}. At 1 the average never moves."
        )

    def init(state: TrainState) -> EmaState:
        return EmaState(upcast(state.params), state.params if validate else ())

    def after_step(state: EmaState, context: StepContext):
        mix = lambda a, p: decay * a + (1 - decay) * p.astype(a.dtype)
        moved = jax.tree.map(mix, state.average, context.params)
        stepped = context.requested < Request.SKIP_STEP
        return state._replace(average=select(stepped, moved, state.average)), context

    def before_validate(state: EmaState, context: StepContext):
        average = cast_like(state.average, context.params)
        return state._replace(params=context.params), context.replace(params=average)

    def after_validate(state: EmaState, context: StepContext):
        return state, context.replace(params=state.params)

    on = {"after_step": after_step}
    if validate:
        on |= {"before_validate": before_validate, "after_validate": after_validate}
    return Hook("ema_params", on, init, requests=False)


@checked
def averaged_params(state: TrainState) -> Any:
    """The average that `ema_params` keeps in `state`, in the dtypes of the parameters.

        averaged_params(state) = average        like `state.params`

    Args:
        state: one of a loop with `ema_params`.

    Raises:
        ValueError: if the state has no such hook.
    """
    if "ema_params" not in state.hooks:
        raise ValueError(
            f"averaged_params: the state must be one of a loop with ema_params; its hooks are"
            f" {sorted(state.hooks)}. Add the hook to the loop."
        )
    return cast_like(state.hooks["ema_params"].average, state.params)
