"""Whole fits in one call: schedules for hyperparameters, set for that fit and put back after.

They take what `gradtx.loop.fit` takes, and return the same. `steps_per_epoch` is the number of
batches of an epoch; it may be left out where `train` is a list. The optimizer must have been built
with numbers for what is scheduled here, so that it can be set.

A state that was saved inside one of these fits goes on when it is given to the same recipe with the
same arguments; `fine_tune` can't be resumed so.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.groups import LabelBy, Rule, discriminative, labels_of, matching, norm_or_bias
from gradtx.core.hyperparams import Schedule
from gradtx.core.runtime_hyperparams import hyperparams, names_with_role
from gradtx.hooks.schedule_hyperparams import schedule_hyperparams
from gradtx.loop import History, Hook, Level, Loop, TrainState, fit
from gradtx.schedules import constant, flat_cos, one_cycle, sgdr

Rates = float | Mapping[str, float]
ENDED = "asked_to_end"


def fit_one_cycle(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    epochs: int,
    learning_rate: Rates,
    steps_per_epoch: int | None = None,
    momentum: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
    div: float = 25.0,
    div_final: float = 1e5,
    warmup: float = 0.25,
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
    steps = epochs * _steps_per_epoch("fit_one_cycle", train, steps_per_epoch)
    start, end = 1 / div, 1 / div_final
    cycle = lambda rate: one_cycle(rate, steps, warmup=warmup, start=start, end=end).learning_rate
    scheduled = {"learning_rate": _by_group(cycle, learning_rate)} | _fixed(state, weight_decay)
    if momentum is not None:
        moves = one_cycle(1.0, steps, warmup=warmup, momentum=momentum).momentum
        names = names_with_role(state.opt_state, "momentum")
        if not names:
            warnings.warn(_no_momentum(state), UserWarning, stacklevel=2)
        scheduled |= dict.fromkeys(names, moves)
    hooks = [schedule_hyperparams(**scheduled)]
    return _fit_with("fit_one_cycle", loop, state, hooks, train, valid, epochs=epochs, **options)


def fit_flat_cos(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    epochs: int,
    learning_rate: Rates,
    steps_per_epoch: int | None = None,
    div_final: float = 1e5,
    flat: float = 0.75,
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
    steps = epochs * _steps_per_epoch("fit_flat_cos", train, steps_per_epoch)
    fall = lambda rate: flat_cos(rate, steps, flat=flat, end=1 / div_final)
    scheduled = {"learning_rate": _by_group(fall, learning_rate)} | _fixed(state, weight_decay)
    hooks = [schedule_hyperparams(**scheduled)]
    return _fit_with("fit_flat_cos", loop, state, hooks, train, valid, epochs=epochs, **options)


def fit_sgdr(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    cycles: int,
    learning_rate: Rates,
    cycle_len: int = 1,
    cycle_mult: int = 2,
    steps_per_epoch: int | None = None,
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
    whole = {"cycles": cycles, "cycle_len": cycle_len, "cycle_mult": cycle_mult}
    for name, value in whole.items():
        if not isinstance(value, Integral):
            raise TypeError(
                f"fit_sgdr: `{name}` must be a whole number; got {value!r}. Pass for example 2."
            )
        if value < 1:
            raise ValueError(f"fit_sgdr: `{name}` must be at least 1; got {value}. Pass 1 or more.")
    first = cycle_len * _steps_per_epoch("fit_sgdr", train, steps_per_epoch)
    fall = lambda rate: sgdr(rate, first, cycles=cycles, multiplier=cycle_mult)
    scheduled = {"learning_rate": _by_group(fall, learning_rate)} | _fixed(state, weight_decay)
    hooks = [schedule_hyperparams(**scheduled)]
    epochs = cycle_len * sum(cycle_mult**i for i in range(cycles))
    return _fit_with("fit_sgdr", loop, state, hooks, train, valid, epochs=epochs, **options)


def fine_tune(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    groups: LabelBy,
    epochs: int,
    freeze_epochs: int = 1,
    learning_rate: float = 2e-3,
    ratio: float = 100.0,
    warmup: float = 0.3,
    div: float = 5.0,
    never_frozen: Rule | None = norm_or_bias,
    **options: Any,
) -> tuple[TrainState, History]:
    """Train the last group alone, then all groups with rates that rise from the first to the last.

        frozen:  fit_one_cycle(freeze_epochs, learning_rate, warmup=0.99)
        then:    fit_one_cycle(epochs, rates, warmup=warmup, div=div)
        rates:   from learning_rate / 2 / ratio for the first group to learning_rate / 2, evenly in
                 the logarithm

    The optimizer's learning rate must be by the same groups:
    `adamw(by_group(groups, body=1e-3, head=1e-3))`. The frozen do not move, not by decay either.
    The second part begins with the optimizer state that was given, and is not run if the first was
    asked to end. Returns the state and both histories, one after the other.

    Args:
        loop: what is trained.
        state: one outside any fit; it stays as it is.
        train: batches, as `fit` takes them.
        valid: validation batches, as `fit` takes them, or None.
        groups: two or more, in order, from `label_by`.
        epochs: of the second part.
        freeze_epochs: of the first part.
        learning_rate: the peak of the first part, twice that of the last group in the second.
        ratio: of the last group's rate to the first group's in the second part.
        warmup: the share of the second part's steps until the peak, in (0, 1).
        div: by how much the second part's first rate is smaller than its peak.
        never_frozen: the rule for parameters that train in both parts; by default norms' and
            biases', in frozen groups at a tenth of the rate.
        options: `fit_one_cycle`'s.

    Raises:
        ValueError: if the learning rate is not by `groups`, there is only one group, or the state
            is in the middle of a fit.

    Source: Howard and Ruder (2018), section 3; the two parts and their defaults are fastai's.
    """
    _check_fine_tune(state, groups)
    opt_state = jax.tree.map(jnp.copy, state.opt_state)
    still = _frozen(groups, never_frozen, state.params)
    more = [_freeze(still, [hook.name for hook in loop.hooks]), _ended()]
    frozen, begun = loop.with_hooks(state, more)
    rates: Any = discriminative(groups, learning_rate).values
    both, first = fit_one_cycle(
        frozen, begun, train, valid, epochs=freeze_epochs, learning_rate=rates, warmup=0.99,
        **options,
    )  # fmt: skip
    begun = loop.without_hooks(both)
    if bool(both.hooks[ENDED]):
        return begun, first
    top = learning_rate / 2
    rates = discriminative(groups, top, start=top / ratio).values
    begun, second = fit_one_cycle(
        loop, begun.replace(opt_state=opt_state), train, valid, epochs=epochs, learning_rate=rates,
        warmup=warmup, div=div, **options,
    )  # fmt: skip
    return begun, _joined(first, second)


def _check_fine_tune(state: TrainState, groups: LabelBy) -> None:
    rate = hyperparams(state.opt_state).get("learning_rate")
    have = sorted(rate) if isinstance(rate, Mapping) else []
    if have != sorted(groups.rules) or len(have) < 2:
        raise ValueError(
            f"fine_tune: the learning rate must be by `groups`, two or more; got {have or rate} for"
            f" {list(groups.rules)}. Build the optimizer with by_group(groups, ...) as its"
            " learning_rate."
        )
    if int(state.level) != Level.OUTSIDE:
        raise ValueError(
            "fine_tune: the state must not be in the middle of a fit, since it does not say in"
            " which part; got one that is. Begin again, or go on with fit_one_cycle."
        )


def _frozen(groups: LabelBy, never_frozen: Rule | None, params: Any) -> Any:
    """A tree of bools: what stays still while only the last group trains."""
    last = list(groups.rules)[-1]
    labels = labels_of("fine_tune", groups, params, tuple(groups.rules))
    exempt = matching(*([] if never_frozen is None else [never_frozen]))(params)
    return jax.tree.map(lambda label, never: label != last and not never, labels, exempt)


def _freeze(mask: Any, others: Sequence[str]) -> Hook:
    """No gradient and no update where `mask` is True, for the `others` among the hooks as well."""

    def zero(tree: Any) -> Any:
        return jax.tree.map(lambda still, x: jnp.zeros_like(x) if still else x, mask, tree)

    def after_backward(state: Any, context: Any):
        return state, context.replace(grads=zero(context.grads))

    def after_update(state: Any, context: Any):
        return state, context.replace(updates=zero(context.updates))  # decay needs no gradient

    # Before all others, so that none clips by the norm of gradients that are not used.
    on = {"after_backward": after_backward, "after_update": after_update}
    return Hook("freeze", on, run_before=others)


def _ended() -> Hook:
    """Whether the fit was asked to end, wherever that was: bool[], after the fit."""
    never = lambda *_: jnp.zeros((), bool)
    on = {
        "before_fit": lambda state, context: (never(), context),
        "after_cancel_fit": lambda state, context: (jnp.ones((), bool), context),
    }
    return Hook(ENDED, on, never)


def _joined(first: History, second: History) -> History:
    """Two histories, one after the other; a fit without a step has no entries for its steps."""
    join = lambda a, b: np.concatenate([a, b])
    both = first.steps and second.steps
    steps = jax.tree.map(join, first.steps, second.steps) if both else first.steps or second.steps
    return History(first.rows + second.rows, steps)


def _fit_with(
    where: str, loop: Loop, state: TrainState, hooks: Sequence[Hook], *args: Any, **options: Any
) -> tuple[TrainState, History]:
    """`fit` with more hooks, which the loop and the state do not keep."""
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


def _by_group(make: Callable[[float], Schedule], rates: Rates) -> Schedule:
    if not isinstance(rates, Mapping):
        return make(rates)
    parts = {group: make(rate) for group, rate in rates.items()}
    return lambda count: {group: part(count) for group, part in parts.items()}


def _fixed(state: TrainState, weight_decay: Rates | None) -> dict[str, Schedule]:
    if weight_decay is None:
        return {}
    now = hyperparams(state.opt_state).get("weight_decay")
    if isinstance(now, Mapping) and not isinstance(weight_decay, Mapping):
        weight_decay = {group: weight_decay if value else 0.0 for group, value in now.items()}
    return {"weight_decay": _by_group(constant, weight_decay)}


def _no_momentum(state: TrainState) -> str:
    return (
        "fit_one_cycle: `momentum` needs a hyperparameter that is declared as one; got an optimizer"
        f" with none among {', '.join(hyperparams(state.opt_state)) or 'no hyperparameters'}."
        " Declare it with gradtx.MOMENTUM where the transform is made, or pass momentum=None."
    )


def _steps_per_epoch(where: str, train: Any, given: int | None) -> int:
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
