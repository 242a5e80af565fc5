"""A fit whose hyperparameters follow schedules: what the recipes share."""

from collections.abc import Callable, Mapping
from typing import Any

from gradtx.core.hyperparams import Schedule
from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.hooks.schedule_hyperparams import schedule_hyperparams
from gradtx.loop import History, Level, Loop, TrainState, fit
from gradtx.schedules import constant

Rates = float | Mapping[str, float]


def fit_scheduled(
    where: str,
    loop: Loop,
    state: TrainState,
    schedules: Mapping[str, Schedule],
    *args: Any,
    **options: Any,
) -> tuple[TrainState, History]:
    """`fit` with `schedule_hyperparams`, which the loop and the state do not keep.

    Args:
        where: the recipe to name in messages.
        loop: what is trained.
        state: one outside any fit, or one that the recipe has saved.
        schedules: of hyperparameters by name, of this fit alone.
        args: `fit`'s: batches.
        options: `fit`'s.

    Raises:
        ValueError: if the state is in the middle of a fit without that hook.
    """
    hook = schedule_hyperparams(**schedules)
    more, begun = loop.with_hooks(state, [hook])
    if int(state.level) != Level.OUTSIDE:
        if hook.name not in state.hooks:
            raise ValueError(
                f"{where}: a state in the middle of a fit must come from the same recipe; got one"
                f" without {hook.name!r} among its hooks. Finish that fit as it was begun."
            )
        begun = begun.replace(hooks=state.hooks)
    state, history = fit(more, begun, *args, **options)
    return loop.without_hooks(state), history


def schedules_of(
    state: TrainState,
    make: Callable[[float], Schedule],
    learning_rate: Rates,
    weight_decay: Rates | None,
) -> dict[str, Schedule]:
    """The schedules of the learning rate and of a decay that stays, by name.

    Args:
        state: whose optimizer's decay it is; a number leaves the groups alone whose decay is 0.
        make: function of a rate; its schedule.
        learning_rate: one, or a dict of them by group.
        weight_decay: of this fit, also by group; None: it has no schedule.
    """
    schedules = {"learning_rate": _by_group(make, learning_rate)}
    if weight_decay is None:
        return schedules
    now = hyperparams(state.opt_state).get("weight_decay")
    if isinstance(now, Mapping) and not isinstance(weight_decay, Mapping):
        weight_decay = {group: weight_decay if value else 0.0 for group, value in now.items()}
    return schedules | {"weight_decay": _by_group(constant, weight_decay)}


def _by_group(make: Callable[[float], Schedule], rates: Rates) -> Schedule:
    """The schedule of a rate; of rates by group, one that returns a dict."""
    if not isinstance(rates, Mapping):
        return make(rates)
    parts = {group: make(rate) for group, rate in rates.items()}
    return lambda count: {group: part(count) for group, part in parts.items()}


def batches_of_epoch(where: str, train: Any, given: int | None) -> int:
    """How many batches an epoch has.

    Args:
        where: the recipe to name in messages.
        train: batches, as `fit` takes them.
        given: what the user says.

    Raises:
        ValueError: if it is not known, or `given` is wrong.
    """
    known = len(train) if hasattr(train, "__len__") else given
    if known is None:
        raise ValueError(
            f"{where}: `steps_per_epoch` must be given where `train` has no length; got None. Pass"
            " the number of batches in an epoch."
        )
    if given not in (None, known):
        raise ValueError(
            f"{where}: `steps_per_epoch` must be the number of batches; got {given} for {known}."
            " Leave it out, since `train` has a length."
        )
    return known
