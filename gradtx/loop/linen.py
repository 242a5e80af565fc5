"""Models of Flax linen."""

import sys
from collections.abc import Sequence
from typing import Any

import jax

from gradtx.kinds import checked
from gradtx.loop.calling import Entry, check_call, inputs_of, mode_of, prediction, told
from gradtx.loop.sown import statistics_of
from gradtx.loop.state import PyTree

BATCH_STATS = "batch_stats"  # the collection in which batch norms keep running statistics


@checked
def from_linen(
    module: Any,
    *,
    inputs: Entry | Sequence[Entry] = "image",
    rngs: Sequence[str] = ("dropout",),
    sown: str | None = None,
) -> Any:
    """`apply` for `Loop`, from a Flax linen module called as `module(x, train=...)`.

        pred = module.apply({"params": params, **model_state}, batch[inputs], train=training)

    `model_state` holds the module's collections beside "params"; all of them may change in
    training, and those named in `carry` also outside it. A module may say otherwise whether it
    trains, by `training` or `deterministic`, or not at all. Of an output with `logits`, as that of
    Hugging Face's modules (`model.module`), these are the prediction.

    Args:
        module: a Flax linen module.
        inputs: the batch's entry that is the module's input, or several in order, each by its
            name or its place; of a pair (inputs, labels) the first.
        rngs: names of the module's streams of random numbers.
        sown: a collection into which the module sows outputs of its layers: the state has there,
            of each, what `activation_statistics` makes of it in the last training batch. Make
            the first state by `with_sown`; `layer_health` logs them.

    Raises:
        TypeError: if the module does not take its inputs.
        ValueError: in training, if the batch has no such entry.
    """
    mode = mode_of(_first_called(module))
    check_call("from_linen: `module`", module, inputs, mode)

    def apply(params: PyTree, model_state: PyTree, batch: Any, *, key: jax.Array, training: bool):
        given = inputs_of("from_linen", batch, inputs)
        kept = {name: value for name, value in model_state.items() if name != sown}
        variables = {"params": params, **kept}
        keys = {name: jax.random.fold_in(key, i) for i, name in enumerate(rngs)}
        mutable = [*model_state] if training else [c for c in model_state if c == "carry"]
        how = {"rngs": keys, "mutable": mutable, **told(mode, training=training)}
        pred, new = module.apply(variables, *given, **how)
        if sown in new:
            new = {**new, sown: statistics_of(new[sown])}
        return prediction(pred), {**model_state, **new}

    return apply


def _first_called(module: Any) -> Any:
    """What takes the keywords of a call: of a chain of layers its first."""
    linen = sys.modules.get("flax.linen")  # there, if it is one of its modules
    while linen is not None and isinstance(module, linen.Sequential) and module.layers:
        module = module.layers[0]
    return module
