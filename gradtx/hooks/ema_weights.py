"""A moving average of the weights beside them."""

from typing import Any, NamedTuple

import jax

from gradtx.core.tree import cast_like, select, upcast
from gradtx.loop import Hook, Moment, Signal, TrainState


class EmaState(NamedTuple):
    """The average, and during validation the weights that it stands in for."""

    average: Any  # like the parameters, at least float32
    weights: Any  # like the parameters; () if they are not replaced


def ema_weights(decay: float = 0.999, *, validate: bool = True) -> Hook:
    """Keep an exponential moving average of the parameters, and validate with it.

        after_step:  average' = decay average + (1 - decay) params        average_0 = params

    The average is kept in at least float32, and moves only when a step was made. With `validate` it
    takes the parameters' place during validation. `averaged_weights` reads it. Batch statistics
    remain those of the parameters.

    Raises:
        ValueError: if `decay` is outside [0, 1).
    Source: Polyak and Juditsky (1992) for averaging; the exponential form from Tarvainen and
    Valpola (2017).
    """
    if not 0 <= decay < 1:
        raise ValueError(
            f"ema_weights: `decay` must be in [0, 1); got {decay}. At 1 the average never moves."
        )

    def init(state: TrainState) -> EmaState:
        return EmaState(upcast(state.params), state.params if validate else ())

    def after_step(state: EmaState, moment: Moment):
        mix = lambda a, p: decay * a + (1 - decay) * p.astype(a.dtype)
        moved = jax.tree.map(mix, state.average, moment.params)
        stepped = moment.signal < Signal.SKIP_STEP
        return state._replace(average=select(stepped, moved, state.average)), moment

    def before_validate(state: EmaState, moment: Moment):
        average = cast_like(state.average, moment.params)
        return state._replace(weights=moment.params), moment.replace(params=average)

    def after_validate(state: EmaState, moment: Moment):
        return state, moment.replace(params=state.weights)

    on = {"after_step": after_step}
    if validate:
        on |= {"before_validate": before_validate, "after_validate": after_validate}
    return Hook("ema_weights", on, init, priority=50)


def averaged_weights(state: TrainState) -> Any:
    """The average that `ema_weights` keeps in `state`, in the dtypes of the parameters.

    Raises:
        ValueError: if the state has no such hook.
    """
    if "ema_weights" not in state.hooks:
        raise ValueError(
            f"averaged_weights: the state must be one of a loop with ema_weights; its hooks are"
            f" {sorted(state.hooks)}. Add the hook to the loop."
        )
    return cast_like(state.hooks["ema_weights"].average, state.params)
