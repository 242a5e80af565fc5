"""A learning rate that stays, then falls along a cosine."""

from typing import Any

from gradtx.kinds import Fraction, Positive, Whole, checked
from gradtx.loop import History, Loop, TrainState
from gradtx.recipes.scheduled import Rates, batches_of_epoch, fit_scheduled, schedules_of
from gradtx.schedules import flat_cos


@checked
def fit_flat_cos(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    epochs: Whole,
    learning_rate: Rates,
    steps_per_epoch: Whole | None = None,
    div_final: Positive = 1e5,
    flat: Fraction = 0.75,
    weight_decay: Rates | None = None,
    **options: Any,
) -> tuple[TrainState, History]:
    """Fit with a learning rate that stays for the fraction `flat`, then falls along a cosine.

        learning_rate  ->  learning_rate  ->  learning_rate / div_final

    Momentum stays as it is.

    Args:
        loop: what is trained.
        state: one outside any fit, or one that this recipe has saved; it stays as it is.
        train: batches, as `fit` takes them.
        valid: validation batches, as `fit` takes them, or None.
        epochs: their number.
        learning_rate: the first, or a dict of them by group.
        steps_per_epoch: batches in an epoch; may be left out where `train` has a length.
        div_final: by how much the last rate is smaller than the first.
        flat: the share of the steps until the rate falls, in [0, 1].
        weight_decay: of this fit, as in `fit_one_cycle`.
        options: `fit`'s: observers and so on.

    Raises:
        ValueError: as `fit_one_cycle`.

    Source: fastai's `fit_flat_cos`.
    """
    steps = epochs * batches_of_epoch("fit_flat_cos", train, steps_per_epoch)
    fall = lambda rate: flat_cos(rate, steps, flat=flat, end=1 / div_final)
    schedules = schedules_of(state, fall, learning_rate, weight_decay)
    return fit_scheduled(
        "fit_flat_cos", loop, state, schedules, train, valid, epochs=epochs, **options
    )
