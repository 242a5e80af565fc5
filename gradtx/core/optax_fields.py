"""What Optax's states have under which name and at which place, read off a state of ours.

scale_by_adam().init(params):   state.count  state.mu  state.nu    state[0]  state[1]  state[2]
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import ScaleByAdemamixState, ScheduleFreeState

Read = Callable[[Any], Any]


def _slots(*names: str) -> dict[str, Read]:
    """Fields that are slots of the same name."""
    return {name: (lambda state, name=name: state.slots[name]) for name in names}


def _whole(slot: Any) -> Read:
    """A part in the state, with the counter of the whole where that counts for it."""
    return lambda state: state.part(state.slots[slot])


class ByLabel(dict):
    """The states of a partition: found by a label of any kind, though kept by its text."""

    def __missing__(self, label: Any) -> Any:
        if isinstance(label, str):
            raise KeyError(label)
        return self[str(label)]


class PartState(optax.MaskedState):
    """Optax's state of a part of a partition; what is asked for besides is the part's own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner_state, name)


COUNT: dict[str, Read] = {"count": lambda state: state.count}
ADAM = COUNT | _slots("mu", "nu")
ADAM_STATE_OF = ("scale_by_adam", "scale_by_adamax", "scale_by_adopt", "scale_by_radam")


def _masked(part: Any) -> Any:
    """A part that sees some leaves, with Optax's mark in the place of the others."""
    mark = lambda x: optax.MaskedNode() if x is None else x
    return jax.tree.map(mark, part, is_leaf=lambda x: x is None)


BY_LABEL: dict[str, Read] = {
    "inner_states": lambda state: ByLabel(
        {label: PartState(_masked(state.part(x))) for label, x in state.slots.items()}
    )
}

# By the name of our transformation, in Optax's order.
FIELDS: Mapping[str, Mapping[str, Read]] = {
    **dict.fromkeys((*ADAM_STATE_OF, "scale_by_belief"), ADAM),
    "scale_by_amsgrad": ADAM | _slots("nu_max"),
    "scale_by_ademamix": COUNT | {"count_m2": COUNT["count"]} | _slots("m1", "m2", "nu"),
    "scale_by_lion": COUNT | _slots("mu"),
    "scale_by_muon": COUNT | _slots("mu"),
    "scale_by_adadelta": _slots("e_g", "e_x"),
    "scale_by_rss": _slots("sum_of_squares"),
    "scale_by_momentum": _slots("trace"),
    # Optax sums the descending steps, gradtx the ascending ones.
    "momentum_of_steps": {
        "trace": lambda state: jax.tree.map(jnp.negative, state.slots["velocity"])
    },
    "ema": COUNT | _slots("ema"),
    **dict.fromkeys(("scale", "scale_by_learning_rate"), COUNT),
    "masked": {"inner_state": lambda state: _masked(state.part(state.slots["True"]))},
    "freeze_gradients": {"inner_state": lambda state: optax.EmptyState()},
    **dict.fromkeys(("partition", "freeze", "muon"), BY_LABEL),
    "skip_if_not_finite": {
        "notfinite_count": lambda state: state.slots["consecutive"],
        "last_finite": lambda state: state.slots["consecutive"] == 0,
        "total_notfinite": lambda state: state.slots["total"],
        "inner_state": _whole("inner"),
    },
    "schedule_free": {
        **_slots("b1", "weight_sum"),
        "step_count": lambda state: state.count + 1,
        "max_lr": lambda state: state.slots["max_learning_rate"],
        "base_optimizer_state": _whole("base"),
        **_slots("z"),
    },
    "lookahead": {"fast_state": _whole("fast")},
}

# Optax's states, where ours has all of their fields.
STATES: Mapping[str, Any] = {
    **dict.fromkeys(ADAM_STATE_OF, optax.ScaleByAdamState),
    "scale_by_belief": optax.ScaleByBeliefState,
    "scale_by_amsgrad": optax.ScaleByAmsgradState,
    "scale_by_ademamix": ScaleByAdemamixState,
    "scale_by_lion": optax.ScaleByLionState,
    "scale_by_adadelta": optax.ScaleByAdaDeltaState,
    "scale_by_rss": optax.ScaleByRssState,
    **dict.fromkeys(("scale_by_momentum", "momentum_of_steps"), optax.TraceState),
    "ema": optax.EmaState,
    **dict.fromkeys(("masked", "freeze_gradients"), optax.MaskedState),
    **dict.fromkeys(("partition", "freeze", "muon"), optax.PartitionState),
    "skip_if_not_finite": optax.ApplyIfFiniteState,
    "schedule_free": ScheduleFreeState,
}


def fields_of(name: str, slots: Any) -> Mapping[str, Read]:
    """The fields of Optax's state by name, in its order; none where it has no such state.

    Args:
        name: of our transformation.
        slots: what it remembers.
    """
    if not isinstance(slots, dict):
        return {}
    if name == "scale_by_rms":  # Optax has three states, by what they hold
        return _slots(*sorted(slots))
    return FIELDS.get(name, {})


def as_optax(tree: Any, is_state: Callable[[Any], bool]) -> Any:
    """`tree` with Optax's states in the place of ours: named tuples, and a tuple for a chain.

    A state that Optax has no counterpart of is a dict of its slots and its counter. Hyperparameters
    are left out, since Optax's states have none.

    Args:
        tree: any pytree that holds states of ours.
        is_state: whether a node is one.
    """

    def view(node: Any) -> Any:
        if isinstance(node, ByLabel):  # to JAX it is no dict
            return ByLabel({label: inside(part) for label, part in node.items()})
        if not is_state(node):
            return node
        if isinstance(node.slots, tuple):
            return tuple(inside(part) for part in node[:])
        fields = fields_of(node.name, node.slots)
        if fields is COUNT:
            scheduled = any(
                getattr(x, "source", "") == "schedule" for _, x in node.info.hyperparams
            )
            return optax.ScaleByScheduleState(node.count) if scheduled else optax.EmptyState()
        if node.name in STATES:
            return STATES[node.name](*(inside(read(node)) for read in fields.values()))
        if not isinstance(node.slots, dict):
            return node.counter | {"slots": inside(node.slots)}
        slots = {key: inside(node.part(x)) for key, x in node.slots.items()}
        return node.counter | slots if slots else optax.EmptyState()

    inside = lambda below: jax.tree.map(view, below, is_leaf=is_state)
    return inside(tree)
