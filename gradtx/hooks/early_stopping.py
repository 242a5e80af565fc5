"""End a fit that no longer gets better."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx.kinds import Natural, checked
from gradtx.loop import Hook, Request, StepContext
from gradtx.loop.improvement import Improvement


class StoppingState(NamedTuple):
    """The best so far, and how long ago it was."""

    best: jax.Array  # float32[]
    wait: jax.Array  # int32[]: epochs since


@checked
def early_stopping(
    metric: str = "valid_loss",
    *,
    patience: Natural = 1,
    min_delta: float = 0.0,
    mode: str | None = None,
) -> Hook:
    """End the fit after `patience` epochs without a better value.

        after_epoch:  wait' = 0 if better else wait + 1        END_FIT if wait' >= patience

    `best`, float32[], and `wait`, int32[], are in the state, so they survive a checkpoint; a fit
    starts them anew.

    Args:
        metric: a column of the epoch table: train_loss, train_loss_mean, valid_loss or a metric.
        patience: epochs without a better value, at least 1.
        min_delta: by how much a value must be better than the best, not negative.
        mode: "min" if a better value is smaller, "max" if it is greater; it may be left out for the
            losses.

    Raises:
        ValueError: if `patience` is below 1 or another argument is out of range; when the training
            state is made, if there is no such metric.
    """
    watch = Improvement("early_stopping", metric, mode, min_delta)
    if patience < 1:
        raise ValueError(
            f"early_stopping: `patience` must be at least 1; got {patience}. It is a number of"
            " epochs."
        )
    start = lambda: StoppingState(watch.worst(), jnp.zeros((), jnp.int32))

    def init(state) -> StoppingState:
        watch.check(state)
        return start()

    def after_epoch(state: StoppingState, context: StepContext):
        better, best = watch.of(context, state.best)
        wait = jnp.where(better, 0, state.wait + 1)
        return StoppingState(best, wait), context.request(Request.END_FIT, wait >= patience)

    on = {"before_fit": lambda state, context: (start(), context), "after_epoch": after_epoch}
    before = ("save_best", "reduce_on_plateau")
    return Hook("early_stopping", on, init, run_after=before, per_epoch=True, watches=metric)
