"""How each layer is: norms, what each part of the optimizer's chain does, dead units."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.zeros import never_moves
from gradtx.hooks.at_times import at_times
from gradtx.hooks.health_measures import (
    EARLIER,
    have_moved,
    names_of,
    norms_of,
    passed_parts,
    said,
    shares_of,
)
from gradtx.kinds import Count, Positive, checked
from gradtx.loop import Hook, Request, StepContext, TrainState
from gradtx.loop.again import arguments_at, first_state, with_those_it_takes
from gradtx.loop.form import difference
from gradtx.loop.sown import STATISTICS

DEAD = 0.9  # the share of dead units from which on a layer is said to be so
NORMS = ("grad_norm", "param_norm", "update_norm")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "count", "due", "taken", "norms", "shares", "factors", "activations", "still", "unmoved",
        "large", "dead",
    ],
    meta_fields=["layers", "parts", "sown", "trained"],
)  # fmt: skip
@dataclass(frozen=True)
class HealthState:
    """The last measurement, and how often something was wrong.

    Args:
        count: int32[]: optimizer's steps so far.
        due: bool[]: whether this step is measured.
        taken: bool[]: whether the last batch was.
        norms: float32[3, layers], of gradients, parameters and updates.
        shares: float32[parts], what each part of the chain changed.
        factors: float32[parts], the norm after each part over that before it.
        activations: float32[sown, 4], as `activation_statistics`.
        still: int32[layers]: measurements in a row at which a layer did not move.
        unmoved: int32[layers]: measurements at which it had not for too long.
        large: int32[layers]: measurements at which its updates were too large.
        dead: int32[sown]: measurements at which most of its units were dead.
        layers: the paths of the parameters.
        parts: the names of the chain's parts.
        sown: the paths of what the model sows.
        trained: for each layer, whether the optimizer is to move it.
    """

    count: jax.Array
    due: jax.Array
    taken: jax.Array
    norms: jax.Array
    shares: jax.Array
    factors: jax.Array
    activations: jax.Array
    still: jax.Array
    unmoved: jax.Array
    large: jax.Array
    dead: jax.Array
    layers: tuple[str, ...]
    parts: tuple[str, ...]
    sown: tuple[str, ...]
    trained: tuple[bool, ...]


@checked
def layer_health(
    tx: Any = None,
    *,
    every: Count = 10,
    sown: str = "intermediates",
    too_large: Positive = 100.0,
    patience: Count = 3,
) -> Hook:
    """Measure every layer at each `every`-th step of the optimizer, and warn of what is wrong.

    It logs, at these steps alone and with a parameter's path in dots for PATH,

        health/grad_norm/PATH      |g|         health/param_norm/PATH     |p|
        health/update_norm/PATH    |u|         health/update_ratio/PATH   |u| / |p|, 0 where p = 0
        health/share/PART          min(|u_i - u_(i-1)|, |u_i + u_(i-1)|) / max(|u_i|, |u_(i-1)|)
        health/factor/PART         |u_i| / |u_(i-1)|

    g is the gradient as the optimizer gets it, p the parameter before the step, u what is added to
    it, and u_i what part i of the chain has made of what the parts before it have, over all
    parameters that it acts on. The share says what the part contributes: clipping by half has 0.5,
    a decay its part of the update that it is in, a part that makes the update anew, as Adam's, near
    1. The parts are run one by one for it, once more, at measured steps only: `gradtx.core.parts`
    says what counts as one. `layer_histograms` counts what the norms are of.

    Of a Flax module that sows outputs of its layers, by `self.sow("intermediates", "relu", x)`, it
    logs `activation_mean`, `activation_std`, `dead` and `saturated` of each, as
    `gradtx.loop.activation_statistics` says: make the loop's `apply` by `from_linen(module,
    sown="intermediates")`, and the first state by `gradtx.loop.with_sown`. Other models may put
    `activation_statistics(x)` into `model_state["intermediates"]` themselves.

    Counted among the loop's faults, each with the number of measurements:

        PATH has not moved                          p + u = p at `patience` measurements in a row
        updates of PATH are 100 times its parameters      |u| > too_large |p| > 0
        most units of PATH are dead                 a share of 0.9

    What the optimizer holds still, whatever the gradients are, is not said to have not moved: by
    `freeze`, by Optax's `set_to_zero` in a partition or under a mask. That is seen in its program,
    so `tx` must be given for it. Neither is what `fine_tune` freezes. No warning ends a fit. What
    all this costs is measured by benchmarks/layer_health.py.

    Args:
        tx: the loop's optimizer, whose parts are measured; None: no shares and factors, and all
            parameters should move. An optimizer that asks for the loss at other parameters can't be
            taken apart.
        every: optimizer's steps from one measurement to the next, the first one included.
        sown: the collection in the model's state with what the model has sown.
        too_large: the ratio |u| / |p| from which on there is a warning.
        patience: measurements in a row without a move until there is a warning.

    Raises:
        ValueError: when a state is made, if `tx` is not the loop's, or can't be taken apart.
    """

    def of_model(model_state: Any) -> Any:
        return model_state.get(sown, {}) if isinstance(model_state, Mapping) else {}

    def init(state: TrainState) -> HealthState:
        layers, seen = names_of(state.params), names_of(of_model(state.model_state))
        parts = () if tx is None else _parts(tx, state)
        zeros = lambda *shape: jnp.zeros(shape, jnp.float32)
        counts = lambda *shape: jnp.zeros(shape, jnp.int32)
        n = len(layers)
        return HealthState(
            count=counts(),
            due=jnp.zeros((), bool),
            taken=jnp.zeros((), bool),
            norms=zeros(len(NORMS), n),
            shares=zeros(len(parts)),
            factors=zeros(len(parts)),
            activations=zeros(len(seen), len(STATISTICS)),
            still=counts(n),
            unmoved=counts(n),
            large=counts(n),
            dead=counts(len(seen)),
            layers=layers,
            parts=parts,
            sown=tuple(name.removesuffix(".0") for name in seen),
            trained=(True,) * n if tx is None else _trained(tx, state.params),
        )

    def before_batch(state: HealthState, context: StepContext):
        return (replace(state, taken=jnp.zeros((), bool)) if context.training else state), context

    def before_step(state: HealthState, context: StepContext):
        due = (state.count % every == 0) & (context.requested < Request.SKIP_STEP)
        state = replace(state, due=due)
        if not state.parts:
            return state, context
        of = (context.grads, context.opt_state, context.params, context.objective)
        now = lambda: shares_of(passed_parts(tx, *of))
        last = state.shares, state.factors
        (shares, factors), grads = at_times(due, now, last, context.grads)
        return replace(state, shares=shares, factors=factors), context.replace(grads=grads)

    def after_update(state: HealthState, context: StepContext):
        made = context.requested < Request.SKIP_STEP
        due = state.due & made
        trees = (context.grads, context.params, context.updates)
        now = partial(measured, state, context, trees)
        state, updates = at_times(due, now, state, context.updates)
        state = replace(state, taken=due, count=state.count + made.astype(jnp.int32))
        return state, context.replace(updates=updates)

    def measured(state: HealthState, context: StepContext, trees: Any) -> HealthState:
        norms = jnp.stack([norms_of(tree) for tree in trees])
        moved = have_moved(context.params, context.updates) | ~np.asarray(state.trained)
        still = jnp.where(moved, 0, state.still + 1)
        _, params, updates = norms
        large = (params > 0) & (updates > too_large * params)
        activations, dead = state.activations, state.dead
        if state.sown:
            activations = jnp.stack(jax.tree.leaves(of_model(context.model_state)))
            is_dead = activations[:, STATISTICS.index("dead")] >= DEAD
            dead = dead + is_dead.astype(jnp.int32)
        return replace(
            state,
            norms=norms,
            activations=activations,
            still=still,
            unmoved=state.unmoved + (still >= patience).astype(jnp.int32),
            large=state.large + large.astype(jnp.int32),
            dead=dead,
        )

    def sampled(state: HealthState) -> tuple[jax.Array, dict[Any, Any]]:
        named = lambda what, names: tuple(f"health/{what}/{name}" for name in names)
        values: dict[Any, Any] = {
            named(what, state.layers): norms for what, norms in zip(NORMS, state.norms, strict=True)
        }
        _, params, updates = state.norms
        ratio = jnp.where(params > 0, updates / jnp.where(params > 0, params, 1), 0)
        values[named("update_ratio", state.layers)] = ratio
        if state.parts:
            values[named("share", state.parts)] = state.shares
            values[named("factor", state.parts)] = state.factors
        if state.sown:
            columns = zip(STATISTICS, state.activations.T, strict=True)
            values |= {named(what, state.sown): column for what, column in columns}
        return state.taken, values

    def faults(state: HealthState) -> dict[str, int]:
        times = f"{too_large:g} times"
        return (
            said(state.unmoved, state.layers, lambda x: f"{x} has not moved", "have not moved")
            | said(
                state.large,
                state.layers,
                lambda x: f"updates of {x} are {times} its parameters",
                f"have updates of {times} their parameters",
            )
            | said(
                state.dead,
                state.sown,
                lambda x: f"most units of {x} are dead",
                "have mostly dead units",
            )
        )

    on = {"before_batch": before_batch, "before_step": before_step, "after_update": after_update}
    told = {"faults": faults, "sampled": sampled}
    return Hook("layer_health", on, init, run_after=EARLIER, requests=False, **told)


def _parts(tx: Any, state: TrainState) -> tuple[str, ...]:
    """The names of the parts of `tx`, which must be the loop's."""
    made = jax.eval_shape(partial(first_state, tx), state.params)
    if problem := difference(made, state.opt_state):
        raise ValueError(
            f"layer_health: `tx` must be the loop's optimizer; got one whose state is {problem}."
            " Pass the same to both, or leave it out here."
        )
    names: list[str] = []

    def run(params: Any, opt_state: Any) -> None:
        value = jnp.zeros((), jnp.float32)
        names.extend(part.name for part in passed_parts(tx, params, opt_state, params, value))

    try:
        jax.eval_shape(run, state.params, state.opt_state)
    except TypeError as error:
        raise ValueError(
            "layer_health: `tx` must be an optimizer that can be taken apart at a step; got one"
            f" that raises {error}. Leave it out here: all but the shares is measured without it."
        ) from error
    return tuple(names)


def held_still(hooks: Mapping[str, Any], mask: Any) -> dict[str, Any]:
    """States of hooks that expect no move of some parameters, which the fit holds still.

    Args:
        hooks: by name; those of other hooks stay as they are.
        mask: a tree like the parameters, True for those.
    """
    stays = jax.tree.leaves(mask)
    found = {name: own for name, own in hooks.items() if isinstance(own, HealthState)}
    moves = lambda own: tuple(x and not y for x, y in zip(own.trained, stays, strict=True))
    return {**hooks, **{name: replace(own, trained=moves(own)) for name, own in found.items()}}


def let_go(hooks: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """States of hooks after `held_still`, that expect the moves that they did before it.

    Args:
        hooks: by name.
        before: the states before it.
    """
    found = {name: own for name, own in hooks.items() if isinstance(own, HealthState)}
    again = {name: replace(own, trained=before[name].trained) for name, own in found.items()}
    return {**hooks, **again}


def _trained(tx: Any, params: Any) -> tuple[bool, ...]:
    """For each parameter whether the optimizer may move it; of one that moves none, all."""
    extra = arguments_at(params)
    update = lambda *trees: with_those_it_takes(partial(tx.update, *trees), extra)
    still = never_moves(partial(first_state, tx), update, params)
    return tuple(not x or all(still) for x in still)
