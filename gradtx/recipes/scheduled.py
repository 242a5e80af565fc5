"""A fit whose hyperparameters follow schedules: what the recipes share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradtx.core.hyperparams import Schedule
from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.loop import History, Hook, Level, Loop, TrainState, fit
from gradtx.schedules import constant

Rates = float | Mapping[str, float]


def fit_with(
    where: str, loop: Loop, state: TrainState, hooks: Sequence[Hook], *args: Any, **options: Any
) -> tuple[TrainState, History]:
    """`fit` with more hooks, which the loop and the state do not keep.

    Args:
        where: the recipe to name in messages.
        loop: what is trained.
        state: one outside any fit, or one that the recipe has saved.
        hooks: of this fit alone.
        args: `fit`'s: batches.
        options: `fit`'s.

    Raises:
        ValueError: if the state is in the middle of a fit without these hooks.
    """
    more, begun = loop.with_hooks(state, hooks)
    if int(state.level) != Level.OUTSIDE:
        for hook in hooks:
            if hook.name not in state.hooks:
                raise ValueError(
                    f"{where}: a state in the middle of a fit must come from the same recipe; got"
                    f" one without {hook.name!r} among its hooks. Finish that fit as it was begun."
                )
        begun = begun.replace(hooks=state.hooks)
    state, history = fit(more, begun, *args, **options)
    return loop.without_hooks(state), history


def by_group(make: Callable[[float], Schedule], rates: Rates) -> Schedule:
    """The schedule of a rate; of rates by group, one that returns a dict.

    Args:
        make: function of a rate; its schedule.
        rates: one, or a dict of them by group.
    """
    if not isinstance(rates, Mapping):
        return make(rates)
    parts = {group: make(rate) for group, rate in rates.items()}
    return lambda count: {group: part(count) for group, part in parts.items()}


def fixed_decay(state: TrainState, weight_decay: Rates | None) -> dict[str, Schedule]:
    """The schedule of a decay that stays, by name; none for None.

    A number leaves the groups alone whose decay is 0.

    Args:
        state: whose optimizer's decay it is.
        weight_decay: of this fit, also by group.
    """
    if weight_decay is None:
        return {}
    now = hyperparams(state.opt_state).get("weight_decay")
    if isinstance(now, Mapping) and not isinstance(weight_decay, Mapping):
        weight_decay = {group: weight_decay if value else 0.0 for group, value in now.items()}
    return {"weight_decay": by_group(constant, weight_decay)}


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
