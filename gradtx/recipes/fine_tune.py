"""Fine-tuning: the last group alone, then all groups with rates that rise to the last."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.groups import LabelBy, Rule, discriminative, labels_of, matching, norm_or_bias
from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.hooks.layer_health import held_still, let_go
from gradtx.kinds import Fraction, Positive, Whole, checked
from gradtx.loop import History, Hook, Level, Loop, TrainState
from gradtx.loop import freeze_norms as norms_frozen
from gradtx.recipes.fit_one_cycle import fit_one_cycle

ENDED = "asked_to_end"


@checked
def fine_tune(
    loop: Loop,
    state: TrainState,
    train: Any,
    valid: Any = None,
    *,
    groups: LabelBy,
    epochs: Whole,
    freeze_epochs: Whole = 1,
    learning_rate: Positive = 2e-3,
    ratio: Positive = 100.0,
    warmup: Fraction = 0.3,
    div: Positive = 5.0,
    never_frozen: Rule | None = norm_or_bias,
    freeze_norms: bool = False,
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
            biases', in frozen groups at a tenth of the rate, as fastai's `train_bn=True`. None
            freezes them too, as `train_bn=False`.
        freeze_norms: whether batch norms that are frozen use and keep their running statistics in
            the first part, as fastai's `BnFreeze`; by default these move, and batches are
            normalized by their own. It goes with `never_frozen=None`: see
            `gradtx.loop.freeze_norms`.
        options: `fit_one_cycle`'s.

    Raises:
        ValueError: if the learning rate is not by `groups`, there is only one group, or the state
            is in the middle of a fit; with `freeze_norms`, if no batch norm is frozen.

    Source: Howard and Ruder (2018), section 3; the two parts and their defaults are fastai's.
    """
    _check_fine_tune(state, groups)
    opt_state = jax.tree.map(jnp.copy, state.opt_state)
    still = _frozen(groups, never_frozen, state.params)
    more = [_freeze(still, [hook.name for hook in loop.hooks]), _ended()]
    frozen, begun = loop.with_hooks(state, more)
    begun = begun.replace(hooks=held_still(begun.hooks, still))
    if freeze_norms:
        frozen = replace(frozen, apply=norms_frozen(loop.apply, still))
    rates: Any = discriminative(groups, learning_rate).values
    both, first = fit_one_cycle(
        frozen, begun, train, valid, epochs=freeze_epochs, learning_rate=rates, warmup=0.99,
        **options,
    )  # fmt: skip
    begun = loop.without_hooks(both)
    begun = begun.replace(hooks=let_go(begun.hooks, state.hooks))
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
    return Hook("freeze", on, run_before=others, requests=False)


def _ended() -> Hook:
    """Whether the fit was asked to end, wherever that was: bool[], after the fit."""
    never = lambda *_: jnp.zeros((), bool)
    on = {
        "before_fit": lambda state, context: (never(), context),
        "after_cancel_fit": lambda state, context: (jnp.ones((), bool), context),
    }
    return Hook(ENDED, on, never, requests=False)


def _joined(first: History, second: History) -> History:
    """Two histories, one after the other; a fit without a step has no entries for its steps."""
    join = lambda a, b: np.concatenate([a, b])
    both = first.steps and second.steps
    steps = jax.tree.map(join, first.steps, second.steps) if both else first.steps or second.steps
    names = first.samples | second.samples
    samples = {n: first.samples.get(n, {}) | second.samples.get(n, {}) for n in names}
    return History(first.rows + second.rows, steps, samples)
