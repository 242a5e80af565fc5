"""What Optax's states have under which name and at which place, read off a state of ours.

scale_by_adam().init(params):   state.count  state.mu  state.nu    state[0]  state[1]  state[2]
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

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


COUNT: dict[str, Read] = {"count": lambda state: state.count}
ADAM = COUNT | _slots("mu", "nu")
ADAM_OF = ("scale_by_adam", "scale_by_adamax", "scale_by_belief", "scale_by_radam")
BY_LABEL: dict[str, Read] = {
    "inner_states": lambda state: ByLabel({k: state.part(x) for k, x in state.slots.items()})
}

# By the name of our transformation, in Optax's order.
FIELDS: Mapping[str, Mapping[str, Read]] = {
    **dict.fromkeys(ADAM_OF, ADAM),
    "scale_by_amsgrad": ADAM | _slots("nu_max"),
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
    "scale": COUNT,
    "masked": {"inner_state": _whole("True")},
    "partition": BY_LABEL,
    "freeze": BY_LABEL,
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
