"""Start every phase with a fresh recurrent state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import path_name
from gradtx.kinds import checked
from gradtx.loop import Hook, StepContext

EVENTS = ("before_train", "before_validate", "after_fit")


@checked
def reset_model_state(reset: str | Callable[[Any], Any] = "carry") -> Hook:
    """Reset a part of the model's state before training, before validation and after the fit.

        before_train, before_validate, after_fit:  model_state' = reset(model_state)

    By default that is the hidden state that a recurrent model carries from batch to batch, which
    must not cross from the end of one text to the beginning of another.

    Args:
        reset: a function of the model's state, or the name of the collection in it that is set to
            zero.

    Raises:
        ValueError: when the training state is made, if there is no such collection.
    """

    def zero(model_state: Any) -> Any:
        is_reset = lambda path: path_name(path[:1]) == reset
        return jax.tree.map_with_path(
            lambda path, x: jnp.zeros_like(x) if is_reset(path) else x, model_state
        )

    def init(state: Any) -> tuple:
        if isinstance(reset, str) and reset not in state.model_state:
            raise ValueError(
                f"reset_model_state: the model's state must have a collection {reset!r}; got"
                f" {sorted(state.model_state)}. Name one of these, or pass a function."
            )
        return ()

    function = zero if isinstance(reset, str) else reset

    def event(state: tuple, context: StepContext):
        return state, context.replace(model_state=function(context.model_state))

    return Hook("reset_model_state", dict.fromkeys(EVENTS, event), init, requests=False)
