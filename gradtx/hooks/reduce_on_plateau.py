"""Smaller steps when a fit no longer gets better."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.runtime_hyperparams import set_hyperparams, values_named
from gradtx.kinds import Between, Count, NonNegative, checked
from gradtx.loop import Hook, StepContext
from gradtx.loop.improvement import Improvement

RATE = "learning_rate"


class PlateauState(NamedTuple):
    """The best so far, how long ago it was, and the rates to put back after the fit."""

    best: jax.Array  # float32[]
    wait: jax.Array  # int32[]: epochs since
    originals: dict[str, Any]


@checked
def reduce_on_plateau(
    metric: str = "valid_loss",
    *,
    factor: Between = 0.1,
    patience: Count = 1,
    min_delta: float = 0.0,
    mode: str | None = None,
    min_learning_rate: NonNegative = 0.0,
) -> Hook:
    """Multiply every learning rate by `factor` after `patience` epochs without a better value.

        after_epoch:  wait' = 0 if better else wait + 1
                      if wait' >= patience:
                          learning_rate' = max(factor learning_rate, min_learning_rate), wait' = 0

    A rate below the minimum stays as it is. The rates from before the fit are put back after it.

    Args:
        metric: a column of the epoch table: train_loss, train_loss_mean, valid_loss or a metric.
        factor: of the learning rate, in (0, 1).
        patience: epochs without a better value, at least 1.
        min_delta: by how much a value must be better than the best, not negative.
        mode: "min" if a better value is smaller, "max" if it is greater; it may be left out for the
            losses.
        min_learning_rate: what no rate falls below, not negative.

    Raises:
        ValueError: if an argument is out of range; when the training state is made, if there is no
            such metric or no learning rate that can be set.
    """
    watch = Improvement("reduce_on_plateau", metric, mode, min_delta)

    def start(opt_state: Any) -> PlateauState:
        return PlateauState(watch.worst(), jnp.zeros((), jnp.int32), values_named(opt_state, RATE))

    def init(state: Any) -> PlateauState:
        watch.check(state)
        first = start(state.opt_state)
        set_hyperparams(state.opt_state, **first.originals or {RATE: 0.0})  # raises if it can't
        return first

    def with_rates(context: StepContext, rates: dict[str, Any]) -> StepContext:
        return context.replace(opt_state=set_hyperparams(context.opt_state, **rates))

    def after_epoch(state: PlateauState, context: StepContext):
        better, best = watch.of(context, state.best)
        wait = jnp.where(better, 0, state.wait + 1)
        act = wait >= patience
        low = lambda rate: jnp.maximum(factor * rate, jnp.minimum(rate, min_learning_rate))
        rates = values_named(context.opt_state, RATE)
        rates = jax.tree.map(lambda rate: jnp.where(act, low(rate), rate), rates)
        state = PlateauState(best, jnp.where(act, 0, wait), state.originals)
        return state, with_rates(context, rates)

    on = {
        "before_fit": lambda state, context: (start(context.opt_state), context),
        "after_epoch": after_epoch,
        "after_fit": lambda state, context: (state, with_rates(context, state.originals)),
    }
    before = ("save_best", "schedule_hyperparams")
    return Hook(
        "reduce_on_plateau",
        on,
        init,
        run_after=before,
        per_epoch=True,
        watches=metric,
        requests=False,
    )
