"""How a model is called: with its inputs from the batch, and told whether it trains."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp

from gradtx.loop.form import entry
from gradtx.loop.signature import check_signature, signature_of

Entry = str | int
DO = "Pass the name of the model's input as `inputs`, or its place in a tuple"
# What frameworks call the argument that says it, and its value in training.
MODES = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "inference": False,
}
# What a loss calls its second argument that takes labels, not the batch, as Optax's losses do.
LABELS = ("labels", "targets", "log_targets")
LABEL = "Pass the name of the labels to the loop, or their place in a tuple: Loop(label=name)"


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a function by name; none of one that does not say what it takes.

    Args:
        function: anything that can be called.
    """
    signature = signature_of(function)
    return {} if signature is None else dict(signature.parameters)


def mode_of(function: Callable[..., Any], *, by_default: str = "train") -> dict[str, bool]:
    """The argument that tells a model whether it trains, with its value in training.

        {"train": True}, {"deterministic": False}, ...; {} if the model has no such argument

    Args:
        function: what is called.
        by_default: the name of the argument for one that takes any keyword.
    """
    parameters = parameters_of(function)
    name = next((name for name in MODES if name in parameters), None)
    if name is None and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        name = by_default or None
    return {} if name is None else {name: MODES[name]}


def told(mode: dict[str, bool], *, training: bool) -> dict[str, bool]:
    """`mode` of a call in training, or in validation.

    Args:
        mode: as `mode_of` returns it.
        training: whether it is a training batch.
    """
    return {name: value == training for name, value in mode.items()}


def inputs_of(where: str, batch: Any, inputs: Entry | Sequence[Entry]) -> list[Any]:
    """The model's inputs in a batch, in order.

    Args:
        where: the beginning of a message.
        batch: a batch.
        inputs: the entry, or several; of a pair (inputs, labels) a string is the first.

    Raises:
        ValueError: if the batch has no such entry.
    """
    names = [inputs] if isinstance(inputs, str | int) else list(inputs)
    place = 0 if len(names) == 1 else None
    return [entry(where, batch, name, DO, place=place) for name in names]


def check_call(
    where: str,
    function: Callable[..., Any],
    inputs: Entry | Sequence[Entry],
    mode: dict[str, bool],
    **more: Any,
) -> None:
    """Require a model that can be called with its inputs.

    Args:
        where: the beginning of the message.
        function: what will be called.
        inputs: as for `inputs_of`.
        mode: as `mode_of` returns it.
        **more: what it is given by name besides.

    Raises:
        TypeError: if it can't.
    """
    count = 1 if isinstance(inputs, str | int) else len(inputs)
    form = f"({', '.join(['x'] * count + [f'{name}=...' for name in {**mode, **more}])})"
    check_signature(where, function, form, *[0] * count, **mode, **more)


def with_label(function: Callable[..., Any], label: Entry | None) -> Callable[..., Any]:
    """A loss or a metric as a function of the batch, which knows where the labels are.

        function(pred, batch, label=label)                         if it has a parameter `label`
        mean over all axes but the first of
        function(pred, batch[label])                               if it takes labels
        function(pred, batch)                                      else

    It takes labels if its second parameter is called `labels`, `targets` or `log_targets`.

    Args:
        function: of the prediction and a batch, or of the prediction and labels.
        label: the name of the labels, or their place in a tuple; None: it has not been said.
    """
    parameters = [*parameters_of(function)]
    if parameters[1:2] and parameters[1] in LABELS:
        name = getattr(function, "__name__", "Loop")

        def of_labels(pred: Any, batch: Any) -> Any:
            labels = entry(name, batch, "label" if label is None else label, LABEL, place=1)
            out = function(pred, labels)
            return jnp.mean(out, axis=range(1, jnp.ndim(out))) if jnp.ndim(out) > 1 else out

        return of_labels
    bound = getattr(function, "keywords", {})
    if label is None or "label" in bound or "label" not in parameters:
        return function
    return partial(function, label=label)


def prediction(out: Any) -> Any:
    """What a model predicts: of an output with `logits`, as Hugging Face's, these.

    A NamedTuple, as of our language model, stays whole: hooks may need its other fields.

    Args:
        out: what the model has returned.
    """
    own = isinstance(out, tuple) and hasattr(out, "_fields")
    return out if own else getattr(out, "logits", out)
