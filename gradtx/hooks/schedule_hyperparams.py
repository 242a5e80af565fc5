"""Hyperparameters that follow a schedule during one fit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import Schedule, returned
from gradtx.core.runtime_hyperparams import set_hyperparams, values_named
from gradtx.kinds import checked
from gradtx.loop import Hook, StepContext


class ScheduleState(NamedTuple):
    """How far the fit is, and what to put back after it."""

    count: jax.Array  # int32[]: training batches begun in this fit
    originals: dict[str, Any]


@checked
def schedule_hyperparams(**schedules: Schedule) -> Hook:
    """Set hyperparameters before every training batch, and put them back after the fit.

        before_batch:  hyperparameter = schedule(count)        count' = count + 1

    `count`, int32[], is the number of training batches that this fit has begun, so the first batch
    gets `schedule(0)`. It counts batches, not updates: where a batch is skipped or its gradient
    only accumulated, the schedule goes on. The optimizer must have been built with numbers for what
    is scheduled here.

    >>> hook = schedule_hyperparams(learning_rate=lambda count: 0.1 / (1 + count))
    >>> hook.name
    'schedule_hyperparams'

    Args:
        schedules: functions of `count`, by a name that `gradtx.set_hyperparams` takes; write a
            qualified one as `**{"scale_by_rms.decay": schedule}`. A schedule returns a scalar, or a
            dict of them by group.

    Raises:
        ValueError: if there is no schedule; and when the training state is made, for a name that no
            transform has, or a value at step 0 that it can't take.
        TypeError: when the training state is made, if a schedule returns no number.
    """
    if not schedules:
        raise ValueError(
            "schedule_hyperparams: needs one schedule at least; got none. Pass"
            " learning_rate=schedule, for example."
        )

    def at(count: jax.Array) -> dict[str, Any]:
        # Optax's schedules need the standard rules, whatever the program around them has set.
        with jax.numpy_dtype_promotion("standard"):
            return {name: _values(name, schedule(count)) for name, schedule in schedules.items()}

    def init(state: Any) -> ScheduleState:
        zero = jnp.zeros((), jnp.int32)
        set_hyperparams(state.opt_state, **jax.jit(at)(zero))  # a wrong name or value is found here
        return ScheduleState(zero, values_named(state.opt_state, *schedules))

    def before_fit(state: ScheduleState, context: StepContext):
        return ScheduleState(
            jnp.zeros_like(state.count), values_named(context.opt_state, *schedules)
        ), context

    def before_batch(state: ScheduleState, context: StepContext):
        if not context.training:
            return state, context
        opt_state = set_hyperparams(context.opt_state, **at(state.count))
        return state._replace(count=state.count + 1), context.replace(opt_state=opt_state)

    def after_fit(state: ScheduleState, context: StepContext):
        opt_state = set_hyperparams(context.opt_state, **state.originals)
        return state, context.replace(opt_state=opt_state)

    on = {"before_fit": before_fit, "before_batch": before_batch, "after_fit": after_fit}
    return Hook("schedule_hyperparams", on, init, requests=False)


def _values(name: str, value: Any) -> Any:
    """What a schedule has returned: a number, or a dict of them by group."""
    what = f"schedule_hyperparams: the schedule of `{name}`"
    if isinstance(value, Mapping):
        return {group: returned(f"{what}[{group!r}]", one) for group, one in value.items()}
    return returned(what, value)
