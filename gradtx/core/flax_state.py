"""The form of a state in `flax.serialization`, where a program uses Flax."""

import sys
from dataclasses import replace
from typing import Any

from gradtx.core.state import TransformState

FIELDS = ("counter", "own_hyperparams", "slots")


def serialize_with_flax() -> None:
    """Let `flax.serialization.to_bytes` and `from_bytes` take gradtx's states, if Flax is loaded.

    The registry is Flax's own, so that nothing is remembered here; every `init` calls this.
    """
    flax: Any = sys.modules.get("flax.serialization")
    if flax is None:
        return

    def to_dict(state: TransformState) -> dict[str, Any]:
        return {name: flax.to_state_dict(getattr(state, name)) for name in FIELDS}

    def from_dict(state: TransformState, data: dict[str, Any]) -> TransformState:
        if missing := sorted({*FIELDS} ^ data.keys()):
            raise ValueError(
                f"flax.serialization: the state of {state.name} must have the fields"
                f" {', '.join(FIELDS)}; got a difference in {', '.join(missing)}. Read it into a"
                " state of the transformation that it was written from."
            )
        restore = lambda name: flax.from_state_dict(getattr(state, name), data[name], name=name)
        return replace(state, **{name: restore(name) for name in FIELDS})

    flax.register_serialization_state(TransformState, to_dict, from_dict, override=True)
