"""A hook that does what the data in its state says: any request and any change, one compile."""

import jax
import jax.numpy as jnp

from gradtx.loop import EVENTS, Hook

ASKS = 2
CHANGES = {
    "before_batch": "params",
    "after_pred": "pred",
    "after_loss": "objective",
    "before_backward": "objective",
    "after_backward": "grads",
    "before_step": "grads",
    "after_update": "updates",
    "after_step": "params",
}


def script(*asks):
    """Up to two (event, occurrence, request, factor).

    At that occurrence of the event, `request` is asked for, and what `CHANGES` names is multiplied.
    """
    idle = ("after_fit", 0, 0, 1.0)
    rows = [(*ask, 1.0)[:4] for ask in asks] + [idle] * (ASKS - len(asks))
    events, occurrences, requests, factors = zip(*rows, strict=True)
    return {
        "event": jnp.asarray([EVENTS.index(event) for event in events], jnp.int32),
        "occurrence": jnp.asarray(occurrences, jnp.int32),
        "requested": jnp.asarray([int(request) for request in requests], jnp.int32),
        "factor": jnp.asarray(factors, jnp.float32),
        "seen": jnp.zeros(len(EVENTS), jnp.int32),
    }


def scripted(name, **order):
    def act(code, event):
        def hook(state, context):
            now = (state["event"] == code) & (state["occurrence"] == state["seen"][code])
            state = state | {"seen": state["seen"].at[code].add(1)}
            field = CHANGES.get(event)
            if field is not None:
                factor = jnp.prod(jnp.where(now, state["factor"], 1))
                scaled = jax.tree.map(lambda x: x * factor, getattr(context, field))
                context = context.replace(**{field: scaled})
            return state, context.request(jnp.max(jnp.where(now, state["requested"], 0)))

        return hook

    on = {event: act(code, event) for code, event in enumerate(EVENTS)}
    return Hook(name, on, init=lambda state: script(), **order)


def with_script(state, *asks, name="scripted"):
    """`state` with that script for the hook."""
    return state.replace(hooks=state.hooks | {name: script(*asks)})
