"""Warm restarts: the learning rate falls along a cosine, again and again."""

from typing import Any

from gradtx.kinds import Whole, checked
from gradtx.loop import History, Loop, TrainState
from gradtx.recipes.scheduled import Rates, batches_of_epoch, fit_scheduled, schedules_of
from gradtx.schedules import sgdr


@checked
def fit_sgdr(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    cycles: Whole,
    learning_rate: Rates,
    cycle_len: Whole = 1,
    cycle_mult: Whole = 2,
    steps_per_epoch: Whole | None = None,
    weight_decay: Rates | None = None,
    **options: Any,
) -> tuple[TrainState, History]:
    """Fit with warm restarts: the learning rate falls to 0 along a cosine, again and again.

        cycle i, from 0, takes cycle_len cycle_mult^i epochs: learning_rate -> 0

    There are cycle_len (1 + cycle_mult + ... + cycle_mult^(cycles - 1)) epochs. A cycle begins with
    the whole rate, on its first batch; its last batch is one step before 0. Momentum stays as it
    is.

    Args:
        loop: what is trained.
        state: one outside any fit, or one that this recipe has saved; it stays as it is.
        train: batches, as `fit` takes them.
        valid: validation batches, as `fit` takes them, or None.
        cycles: their number, at least 1.
        learning_rate: at the start of each cycle, or a dict of them by group.
        cycle_len: epochs of the first cycle, at least 1.
        cycle_mult: how many times as long each cycle is as the one before it, at least 1.
        steps_per_epoch: batches in an epoch; may be left out where `train` has a length.
        weight_decay: of this fit, as in `fit_one_cycle`.
        options: `fit`'s: observers and so on.

    Raises:
        ValueError: as `fit_one_cycle`, or if there is no cycle or epoch.
        TypeError: if the numbers of cycles or epochs are not whole.

    Source: Loshchilov and Hutter (2017), section 3; fastai's `fit_sgdr`, whose `cycle_mult=1` is
    an error and whose third cycle may begin with a rate of 0, by rounding.
    """
    first = cycle_len * batches_of_epoch("fit_sgdr", train, steps_per_epoch)
    fall = lambda rate: sgdr(rate, first, cycles=cycles, multiplier=cycle_mult)
    schedules = schedules_of(state, fall, learning_rate, weight_decay)
    epochs = cycle_len * sum(cycle_mult**i for i in range(cycles))
    return fit_scheduled("fit_sgdr", loop, state, schedules, train, valid, epochs=epochs, **options)
