"""Models that are functions, as they are usually written, and those of Hugging Face."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from gradtx.kinds import checked
from gradtx.loop.calling import (
    Entry,
    check_call,
    inputs_of,
    mode_of,
    parameters_of,
    prediction,
    told,
)
from gradtx.loop.state import PyTree

# What is called so gets the step's key in training, and None outside it.
KEYS = ("dropout_rng", "rng", "key")


@checked
def from_function(
    function: Callable[..., Any], *, inputs: Entry | Sequence[Entry] = "image"
) -> Callable[..., Any]:
    """`apply` for `Loop`, from a function without a state, (params, x) -> pred.

        pred = function(params, batch[inputs])
        pred = function(batch[inputs], params=params, dropout_rng=key, train=training)

    The second form is that of Hugging Face's Flax models: `params` goes by name unless it is the
    first parameter; parameters called as the inputs are given them by name; one that is called
    `dropout_rng`, `rng` or `key` gets the step's key in training and None outside it; one that is
    called `train`, `deterministic` or the like is told. Of an output with `logits` these are the
    prediction.

    Args:
        function: of the parameters and the inputs.
        inputs: the batch's entry that is the input, or several, each by its name or its
            place; of a pair (inputs, labels) the first.

    Raises:
        TypeError: if it can't be called so.
        ValueError: in training, if the batch has no such entry.
    """
    parameters = parameters_of(function)
    names = [inputs] if isinstance(inputs, str | int) else [*inputs]
    by_name = "params" in parameters and next(iter(parameters)) != "params"
    mode = mode_of(function, by_default="")
    keyed = next((name for name in KEYS if name in parameters), None)
    called = by_name and all(name in parameters for name in names)

    def arguments(params: PyTree, given: Sequence[Any], key: Any) -> tuple[list[Any], dict]:
        named = {} if keyed is None else {keyed: key}
        if not by_name:
            return [params, *given], named
        named["params"] = params
        return ([], named | dict(zip(names, given, strict=True))) if called else ([*given], named)

    positional, named = arguments(None, names, None)
    check_call("from_function: `function`", function, positional, mode, **named)

    def apply(params: PyTree, model_state: PyTree, batch: Any, *, key: jax.Array, training: bool):
        given = inputs_of("from_function", batch, names)
        positional, named = arguments(params, given, key if training else None)
        out = function(*positional, **named, **told(mode, training=training))
        return prediction(out), model_state

    return apply
