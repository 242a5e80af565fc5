"""What an optimizer may ask of the loop: the loss and the gradient at other parameters."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from gradtx.core.settled import settled_init
from gradtx.loop.state import PyTree


class Again(NamedTuple):
    """The batch once more, as pure functions of the parameters.

    Args:
        value: params -> the objective, as after_loss leaves it.
        grads: params -> the gradients, as after_backward leaves them.
    """

    value: Callable[[PyTree], Any]
    grads: Callable[[PyTree], PyTree]

    def arguments(self, value: Any, grads: PyTree) -> dict[str, Any]:
        """What an update is given beside the gradients, the state and the parameters, by name.

            value, grad             at the parameters
            value_fn(params)        the objective at others, for line searches
            obj_fn(params)          the same, by the name that Sophia has for it
            grad_fn(params, i)      the gradient there, for sharpness-aware steps

        Args:
            value: the objective.
            grads: the gradients.
        """

        # Optax's line searches hand what they don't know to `value_fn`, and ask for it by name.
        def value_fn(params: PyTree, grad_fn: Any = None, obj_fn: Any = None) -> Any:
            del grad_fn, obj_fn
            return self.value(params)

        grad_fn = lambda params, i=None: self.grads(params)
        at = {"value_fn": value_fn, "obj_fn": self.value, "grad_fn": grad_fn}
        return {"value": value, "grad": grads, **at}


def with_those_it_takes(call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """`call` with those of the arguments that it, and what it calls with them, takes.

    A chain takes any and hands all to its parts, some of which take only their own. Which these are
    no signature says, of a chain or of what is around one; the error of the part does.

    Args:
        call: a pure function.
        arguments: by name.
    """
    try:
        return call(**arguments)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in arguments:
            raise
    return with_those_it_takes(call, {k: x for k, x in arguments.items() if k != unknown[1]})


def arguments_at(params: PyTree) -> dict[str, Any]:
    """What an update may ask for, in its form alone: the loss is 0 everywhere.

    Args:
        params: the parameters.
    """
    zero = jnp.zeros((), jnp.float32)
    return Again(lambda params: zero, lambda params: params).arguments(zero, params)


def first_state(tx: Any, params: PyTree) -> Any:
    """The first state of an optimizer, in the form that it keeps in a fit.

    Args:
        tx: the optimizer.
        params: the parameters.
    """
    update = lambda *trees, **extra: with_those_it_takes(partial(tx.update, *trees), extra)
    return settled_init(tx, params, update, arguments_at(params))
