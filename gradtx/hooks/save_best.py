"""A copy of the parameters from the best epoch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.tree import select
from gradtx.kinds import checked
from gradtx.loop import Hook, StepContext, TrainState
from gradtx.loop.improvement import Improvement
from gradtx.loop.state import is_of_training


class BestState(NamedTuple):
    """The best epoch so far."""

    value: jax.Array  # float32[]
    epoch: jax.Array  # int32[]: -1 before there is one
    params: Any
    model_state: Any


@checked
def save_best(
    metric: str = "valid_loss",
    *,
    min_delta: float = 0.0,
    mode: str | None = None,
    restore: bool = False,
) -> Hook:
    """Keep the parameters and the model's state of the epoch with the best value.

        after_validate:  if better:  params_best, model_state_best = params, model_state

    What is kept is what was validated, so with `ema_params` it is the average, and with
    `Loop(eval_params=...)` what that gives. For a figure of the training it is what the epoch ended
    with: after_epoch in place of after_validate. `best_params` reads it. The copy is in the state,
    on the device, and is saved with every checkpoint. A fit starts anew.

    Args:
        metric: a column of the epoch table: train_loss, train_loss_mean, valid_loss or a metric.
        min_delta: by how much a value must be better than the best, not negative.
        mode: "min" if a better value is smaller, "max" if it is greater; it may be left out for the
            losses.
        restore: whether the best are put back after the fit.

    Raises:
        ValueError: if an argument is out of range; when the training state is made, if there is no
            such metric.
    """
    watch = Improvement("save_best", metric, mode, min_delta)
    never = lambda: jnp.full((), -1, jnp.int32)

    def init(state: TrainState) -> BestState:
        watch.check(state)
        return BestState(watch.worst(), never(), state.params, state.model_state)

    def before_fit(state: BestState, context: StepContext):
        return BestState(watch.worst(), never(), context.params, context.model_state), context

    def keep(state: BestState, context: StepContext):
        better, value = watch.of(context, state.value)
        new = BestState(value, context.epoch, context.params, context.model_state)
        return select(better, new, state), context

    def after_fit(state: BestState, context: StepContext):
        kept = (state.params, state.model_state)
        kept = select(state.epoch >= 0, kept, (context.params, context.model_state))
        return state, context.replace(params=kept[0], model_state=kept[1])

    ended = "after_epoch" if is_of_training(metric) else "after_validate"
    on = {"before_fit": before_fit, ended: keep} | ({"after_fit": after_fit} if restore else {})
    after = ("ema_params", "eval_params", "reset_model_state")
    return Hook(
        "save_best", on, init, run_before=after, per_epoch=True, watches=metric, requests=False
    )


@checked
def best_params(state: TrainState) -> tuple[Any, Any]:
    """The parameters and the model's state that `save_best` keeps in `state`.

        params, model_state = best_params(state)

    Those from before the fit, if no epoch has had a value.

    Args:
        state: one of a loop with `save_best`.

    Raises:
        ValueError: if the state has no such hook.
    """
    if "save_best" not in state.hooks:
        raise ValueError(
            f"best_params: the state must be one of a loop with save_best; its hooks are"
            f" {sorted(state.hooks)}. Add the hook to the loop."
        )
    best = state.hooks["save_best"]
    return best.params, best.model_state
