"""Calling the hooks of one event."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.loop.events import DIFFERENTIATED, OPTIONAL
from gradtx.loop.form import difference
from gradtx.loop.hook import Hook
from gradtx.loop.loop import Loop
from gradtx.loop.naming import named
from gradtx.loop.state import CHANGEABLE, PyTree, StepContext

FIXED = ("training", "step", "epoch", "key")
TRANSIENT = ("batch", "pred", "loss", "objective", "weight", "grads", "updates")
HookStates = dict[str, PyTree]


def choose(mask: Any, new: PyTree, old: PyTree) -> PyTree:
    """`new` where `mask` holds, else `old`; a Python bool decides at trace time.

    A leaf that is the same object in both needs no select.
    """
    if isinstance(mask, bool):
        return new if mask else old
    return jax.tree.map(lambda a, b: a if a is b else jnp.where(mask, a, b), new, old)


def dispatch(
    loop: Loop, event: str, states: HookStates, context: StepContext, active: Any
) -> tuple[HookStates, StepContext]:
    """Call every hook that listens to `event`, in order; without effect where not `active`.

    All hooks of an event run: a request by one is seen by those after it, and can't be taken back.
    """
    for hook in loop.hooks:
        if event not in hook.on:
            continue
        state = _state_of(hook, states)
        mine = context.replace(key=jax.random.fold_in(context.key, hook.seed))
        with named(_where(hook, event)):
            out = hook.on[event](state, mine)
        _check(hook, event, out, state, context)
        states = states | {hook.name: choose(active, out[0], state)}
        context = _merge(event, out[1], context, active)
    return states, context


def _merge(event: str, new: StepContext, old: StepContext, active: Any) -> StepContext:
    """What an event leaves behind: of `new` what a hook may change, where `active`.

    What a batch makes on its way is selected only at events that a batch can pass by; where one of
    the others is not active, the batch was cut short and nothing of it is used. So a hook may
    change its structure there (a label may become a vector of probabilities).
    """
    selected = CHANGEABLE + TRANSIENT if event in OPTIONAL else CHANGEABLE
    kept = {name: choose(active, getattr(new, name), getattr(old, name)) for name in selected}
    kept |= {name: getattr(old, name) for name in FIXED}
    return new.replace(**kept | {"requested": jnp.maximum(kept["requested"], old.requested)})


def _where(hook: Hook, event: str) -> str:
    return f"Hook {hook.name!r}.on[{event!r}]"


def _state_of(hook: Hook, states: HookStates) -> PyTree:
    if hook.name not in states:
        raise ValueError(
            f"Hook {hook.name!r}: the training state must hold this hook's state; got only"
            f" {sorted(states)}. Make the state with this loop's `init` or `with_hooks`."
        )
    return states[hook.name]


def _check(hook: Hook, event: str, out: Any, state: PyTree, context: StepContext) -> None:
    where = _where(hook, event)
    if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], StepContext)):
        raise TypeError(
            f"{where}: must return (hook_state, context); got {type(out).__name__}. End it with"
            " `return state, context`."
        )
    _check_kind(where, "the hook's state", out[0], state)
    for name in CHANGEABLE + TRANSIENT if event in OPTIONAL else CHANGEABLE:
        _check_kind(where, f"`context.{name}`", getattr(out[1], name), getattr(context, name))
    if not hook.requests and out[1].requested is not context.requested:
        raise ValueError(
            f"{where}: a hook with `requests=False` must leave `context.requested` as it is; got"
            " another. Leave `requests` out of the Hook."
        )
    if event in DIFFERENTIATED and out[1].params is not context.params:
        raise ValueError(
            f"{where}: parameters can't be changed while the loss is differentiated; got new ones."
            " Change them at before_batch or after_step."
        )


def _check_kind(where: str, what: str, new: PyTree, old: PyTree) -> None:
    """Require that `new` has the structure, shapes and dtypes of `old`."""
    if new is old:
        return
    problem = difference(new, old)
    if problem:
        raise ValueError(
            f"{where}: {what} must keep its structure, shapes and dtypes; got {problem}. Return"
            " what came in, or cast the new value to its dtype."
        )
