"""The rule of requests: what a request to skip or to end something does.

A hook asks for it by `context.request(...)`; requests combine by max, so the outermost wins:

| Request         | what is skipped                         | what it leaves unchanged           |
|-----------------|-----------------------------------------|------------------------------------|
| `SKIP_BACKWARD` | the gradient: it is zero, the step runs | -                                  |
| `SKIP_STEP`     | the optimizer's step                    | params, optimizer state            |
| `SKIP_BATCH`    | the rest of the batch                   | params, optimizer and model state  |
| `END_PHASE`     | the rest of the train or validate phase | as `SKIP_BATCH` for this batch     |
| `END_EPOCH`     | the rest of the epoch                   | as `SKIP_BATCH` for this batch     |
| `END_FIT`       | the rest of the fit                     | as `SKIP_BATCH` for this batch     |

One rule, the function `level`, says what happens then. The levels are nested: fit > epoch > train
or validate > batch > backward or step. A level that was opened by its `before_` event is always
closed, innermost first, by its `after_` event; the level that was asked to end is closed by
`after_cancel_`, then `after_`. Nothing else of the levels inside runs. When a level has closed,
requests for it and for levels inside it are over. A request for a level that is not open yet waits
until it opens, in the same outer level; one made when it has closed is over at once. So no request
escapes, none is lost in between, and every `before_` has exactly one `after_`.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradtx.loop.dispatch import HookStates, choose, dispatch
from gradtx.loop.events import Request
from gradtx.loop.loop import Loop
from gradtx.loop.state import StepContext

# The levels, each with the request that ends it.
ENDED_BY = {
    "fit": Request.END_FIT,
    "epoch": Request.END_EPOCH,
    "train": Request.END_PHASE,
    "validate": Request.END_PHASE,
    "batch": Request.SKIP_BATCH,
    "backward": Request.SKIP_BACKWARD,
    "step": Request.SKIP_STEP,
}

# (loop, hook_states, context, active) -> (hook_states, context), without effect where not `active`.
Part = Callable[[Loop, HookStates, StepContext, Any], tuple[HookStates, StepContext]]


def may_ask(loop: Loop) -> bool:
    """Whether any of the hooks may ask for something.

    Args:
        loop: whose hooks.
    """
    return any(hook.requests for hook in loop.hooks)


def goes_on(loop: Loop, requested: Any, level: str, within: Any = True) -> Any:
    """Whether a level goes on: neither it nor a level around it was asked to end.

        goes_on = within & (requested < ENDED_BY[level])

    Without hooks that may ask for something there are no requests, so the answer is `within`: a
    Python bool then stays one, and `choose` makes no select of it.

    Args:
        loop: whose hooks may ask for something.
        requested: int32[] or an int, the pending request.
        level: a name in `ENDED_BY`.
        within: bool[] or a bool, whether the level was opened.
    """
    return within & (requested < ENDED_BY[level]) if may_ask(loop) else within


def is_cancelled(loop: Loop, requested: Any, level: str, within: Any) -> Any:
    """Whether it was this very level that was asked to end, and not one around it.

        is_cancelled = within & (requested == ENDED_BY[level])

    Args:
        loop: whose hooks may ask for something; where none may, the answer is False.
        requested: int32[] or an int, the pending request.
        level: a name in `ENDED_BY`.
        within: bool[] or a bool, whether the level was opened.
    """
    return within & (requested == ENDED_BY[level]) if may_ask(loop) else False


def open_level(
    loop: Loop, name: str, states: HookStates, context: StepContext, within: Any
) -> tuple[HookStates, StepContext]:
    """Open a level where `within`: its `before_` event.

    Args:
        loop: whose hooks are called.
        name: of the level, in `ENDED_BY`.
        states: the hooks' states by name.
        context: what the event sees.
        within: bool[] or a bool, whether what is around the level goes on.
    """
    return dispatch(loop, f"before_{name}", states, context, within)


def close_level(
    loop: Loop, name: str, states: HookStates, context: StepContext, within: Any
) -> tuple[HookStates, StepContext]:
    """Close a level where `within`.

        after_cancel_<name> if the level was asked to end, after_<name>, then
        requested' = 0 if requested <= ENDED_BY[name] else requested

    Args:
        loop: whose hooks are called.
        name: of the level, in `ENDED_BY`.
        states: the hooks' states by name.
        context: what the events see.
        within: bool[] or a bool, whether the level was opened.
    """
    cancelled = is_cancelled(loop, context.requested, name, within)
    states, context = dispatch(loop, f"after_cancel_{name}", states, context, cancelled)
    states, context = dispatch(loop, f"after_{name}", states, context, within)
    left = jnp.where(context.requested <= ENDED_BY[name], jnp.int32(0), context.requested)
    return states, context.replace(requested=choose(within, left, context.requested))


def run_parts(
    loop: Loop, name: str, states: HookStates, context: StepContext, within: Any, *parts: Part
) -> tuple[HookStates, StepContext]:
    """Run the parts of an open level, each where the level still goes on.

    Args:
        loop: whose hooks are called.
        name: of the level, in `ENDED_BY`.
        states: the hooks' states by name.
        context: as it is after the level was opened.
        within: bool[] or a bool, whether the level was opened.
        parts: what the level does, in order.
    """
    for part in parts:
        active = goes_on(loop, context.requested, name, within)
        states, context = part(loop, states, context, active)
    return states, context


def level(
    loop: Loop, name: str, states: HookStates, context: StepContext, within: Any, *parts: Part
) -> tuple[HookStates, StepContext]:
    """The rule: open a level, run its parts until it is asked to end, close it.

    All is computed, and left out by a select where it does not happen: a request is data.

    Args:
        loop: whose hooks are called.
        name: of the level, in `ENDED_BY`.
        states: the hooks' states by name.
        context: as it is before the level.
        within: bool[] or a bool, whether what is around the level goes on.
        parts: what the level does, in order.
    """
    states, context = open_level(loop, name, states, context, within)
    states, context = run_parts(loop, name, states, context, within, *parts)
    return close_level(loop, name, states, context, within)
