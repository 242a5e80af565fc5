"""What an optimizer may ask of the loop: the loss and the gradient at other parameters."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

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
            grad_fn(params, i)      the gradient there, for sharpness-aware steps

        Args:
            value: the objective.
            grads: the gradients.
        """

        # Optax's line searches hand what they don't know to `value_fn`, and ask for it by name.
        def value_fn(params: PyTree, grad_fn: Any = None) -> Any:
            del grad_fn
            return self.value(params)

        grad_fn = lambda params, i=None: self.grads(params)
        return {"value": value, "grad": grads, "value_fn": value_fn, "grad_fn": grad_fn}


def with_those_it_takes(call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """`call` with those of the arguments that it, and what it calls with them, takes.

    A chain takes any and hands all to its parts, some of which take only their own.

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
