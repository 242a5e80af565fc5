"""Many hooks in one loop, each with a switch in its state: one compilation for all their fits."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.loop import Hook, StepContext, TrainState


def switched(hooks: Sequence[Hook]) -> list[Hook]:
    """`hooks` under the names "0", "1", ..., also where they name one another; all off."""
    numbers = lambda names: [str(i) for i, hook in enumerate(hooks) if hook.name in names]
    return [
        replace(
            hook,
            name=str(i),
            run_before=numbers(hook.run_before),
            run_after=numbers(hook.run_after),
            on={event: _switched(act) for event, act in hook.on.items()},
            init=lambda state, init=hook.init: (jnp.asarray(False), init(state)),
            log=lambda state: {},
            failed=lambda state, failed=hook.failed: failed(state[1]),
        )
        for i, hook in enumerate(hooks)
    ]


def turn_on(state: TrainState, *numbers: int) -> TrainState:
    """`state` in which the hooks of these numbers act."""
    on = {str(i): (jnp.asarray(True), state.hooks[str(i)][1]) for i in numbers}
    return state.replace(hooks=state.hooks | on)


def _switched(act: Any) -> Any:
    def event(state: tuple[jax.Array, Any], context: StepContext):
        on, mine = state
        choose = lambda new, old: jax.tree.map(lambda a, b: jnp.where(on, a, b), new, old)
        new_mine, new = act(mine, context)
        pairs = {
            f.name: (getattr(new, f.name), getattr(context, f.name)) for f in fields(StepContext)
        }
        changed = {name: choose(a, b) for name, (a, b) in pairs.items() if a is not b}
        return (on, choose(new_mine, mine)), context.replace(**changed)

    return event
