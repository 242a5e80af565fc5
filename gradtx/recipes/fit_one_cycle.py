"""One cycle: the learning rate rises and falls, momentum falls and rises."""

import sys
import warnings
from typing import Any

from gradtx.core.runtime_hyperparams import hyperparams, names_with_role
from gradtx.kinds import Fraction, Positive, Whole, checked
from gradtx.loop import History, Loop, TrainState
from gradtx.recipes.scheduled import Rates, batches_of_epoch, fit_scheduled, schedules_of
from gradtx.schedules import one_cycle


@checked
def fit_one_cycle(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    epochs: Whole,
    learning_rate: Rates,
    steps_per_epoch: Whole | None = None,
    momentum: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
    div: Positive = 25.0,
    div_final: Positive = 1e5,
    warmup: Fraction = 0.25,
    weight_decay: Rates | None = None,
    **options: Any,
) -> tuple[TrainState, History]:
    """Fit while the learning rate rises and falls, and momentum falls and rises.

        learning_rate:  learning_rate / div  ->  learning_rate  ->  learning_rate / div_final
        momentum:       momentum[0]          ->  momentum[1]    ->  momentum[2]

    Batch k of N = epochs * steps_per_epoch uses the position k / N of `schedules.one_cycle`, and
    the two halves meet at `warmup`. Momentum is every hyperparameter that was declared as one where
    its transform was made, with the interval `gradtx.MOMENTUM`: `b1` of Adam and its relatives,
    `momentum` of SGD, `beta` of Muon, the `decay` of Signum's average, and those of your own
    transforms. An optimizer with none of them gets a warning.

    Args:
        loop: what is trained.
        state: one outside any fit, or one that this recipe has saved; it stays as it is.
        train: batches, as `fit` takes them.
        valid: validation batches, as `fit` takes them, or None.
        epochs: their number.
        learning_rate: the peak, or a dict of peaks by group.
        steps_per_epoch: batches in an epoch; may be left out where `train` has a length.
        momentum: at the beginning, the peak of the learning rate and the end; None leaves it alone.
        div: by how much the first rate is smaller than the peak.
        div_final: by how much the last rate is smaller than the peak.
        warmup: the share of the steps until the peak, in (0, 1).
        weight_decay: of this fit, also by group; a number leaves groups alone whose decay is 0;
            None leaves all as it is.
        options: `fit`'s: observers and so on.

    Raises:
        ValueError: if the optimizer has no such hyperparameter that can be set or a value does not
            suit it, or if `steps_per_epoch` is missing or wrong.

    Source: Smith and Topin (2018), section 3; the form and the defaults are fastai's.
    """
    steps = epochs * batches_of_epoch("fit_one_cycle", train, steps_per_epoch)
    start, end = 1 / div, 1 / div_final
    cycle = lambda rate: one_cycle(rate, steps, warmup=warmup, start=start, end=end).learning_rate
    schedules = schedules_of(state, cycle, learning_rate, weight_decay)
    if momentum is not None:
        moves = one_cycle(1.0, steps, warmup=warmup, momentum=momentum).momentum
        names = names_with_role(state.opt_state, "momentum")
        if not names:
            warnings.warn(_no_momentum(state), UserWarning, stacklevel=_users_level())
        schedules |= dict.fromkeys(names, moves)
    return fit_scheduled(
        "fit_one_cycle", loop, state, schedules, train, valid, epochs=epochs, **options
    )


def _users_level() -> int:
    """The `stacklevel` of a warning that shows the user's call, however deep it is raised."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gradtx."):
        frame, level = frame.f_back, level + 1
    return level


def _no_momentum(state: TrainState) -> str:
    return (
        "fit_one_cycle: `momentum` needs a hyperparameter that is declared as one; got an optimizer"
        f" with none among {', '.join(hyperparams(state.opt_state)) or 'no hyperparameters'}."
        " Declare it with gradtx.MOMENTUM where the transform is made, or pass momentum=None."
    )
