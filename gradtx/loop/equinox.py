"""Models of Equinox, whose modules are pytrees and called for one example."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from gradtx.kinds import checked
from gradtx.loop.calling import Entry, check_call, inputs_of, mode_of, parameters_of, told
from gradtx.loop.frozen_norms import with_equinox_norms
from gradtx.loop.state import PyTree


@checked
def from_equinox(
    model: Any,
    state: Any = None,
    *,
    inputs: Entry | Sequence[Entry] = "image",
    per_example: bool = True,
    axis_name: str = "batch",
) -> tuple[Callable[..., Any], PyTree, PyTree]:
    """`apply` for `Loop`, from an Equinox module, with its parameters and its state.

        apply, params, model_state = from_equinox(model)        loop.init(params, model_state)
        pred[i] = model(batch[inputs][i], key=key_i)            with params put into it
        pred[i], model_state' = model(batch[inputs][i], model_state, key=key_i)    with a state

    `params` is the module with nothing but its floating arrays; `eqx.combine(state.params, model)`
    is the trained module. It is in inference mode outside training. It gets a key if it takes
    `key`, and is told by `inference` or the like if its call takes that.

    Args:
        model: an Equinox module.
        state: of a module that has state, as `eqx.nn.make_with_state` returns it beside.
        inputs: the batch's entry that is the module's input, or several in order, each by its
            name or its place; of a pair (inputs, labels) the first.
        per_example: whether the module is called for one example, and so mapped over the batch.
        axis_name: of the axis of examples then, as `eqx.nn.BatchNorm` is told it.

    Raises:
        TypeError: if it is no module, or does not take what it is called with.
        ValueError: if it has state and none is given; in training, if the batch has no such entry.
    """
    import equinox as eqx

    if not isinstance(model, eqx.Module):
        raise TypeError(
            f"from_equinox: `model` must be an equinox.Module; got {model!r:.200}. Make the module"
            " first: Net(key=jax.random.key(0))."
        )
    is_index = lambda x: isinstance(x, eqx.nn.StateIndex)
    stateful = any(map(is_index, jax.tree.leaves(model, is_leaf=is_index)))
    if stateful and state is None:
        raise ValueError(
            f"from_equinox: a module with state needs it; got {type(model).__name__} alone. Make"
            " both by `model, state = eqx.nn.make_with_state(Net)(...)` and pass them."
        )
    call = type(model).__call__
    model_: Any = model
    mode, keyed = mode_of(call, by_default=""), "key" in parameters_of(call)
    names = [inputs] if isinstance(inputs, str | int) else [*inputs]
    extra = {"key": None} if keyed else {}
    positional = names if state is None else [*names, "state"]
    check_call("from_equinox: `model`", model_, positional, mode, **extra)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    modes = {training: eqx.nn.inference_mode(static, not training) for training in (True, False)}

    def apply(params: PyTree, model_state: PyTree, batch: Any, *, key: jax.Array, training: bool):
        module = with_equinox_norms(eqx, eqx.combine(params, modes[training]))
        given = inputs_of("from_equinox", batch, names)
        how = told(mode, training=training)

        def one(xs: Sequence[Any], model_state: PyTree, key: Any) -> tuple[Any, Any]:
            own = {"key": key, **how} if keyed else how
            if state is None:
                return module(*xs, **own), model_state
            return module(*xs, model_state, **own)

        # Equinox marks a state that was changed as used up; the loop still has the old one.
        model_state = jax.tree.map(lambda x: x, model_state)
        if not per_example:
            return one(given, model_state, key)
        keys = jax.random.split(key, len(jax.tree.leaves(given)[0]))
        mapped = jax.vmap(one, in_axes=(0, None, 0), out_axes=(0, None), axis_name=axis_name)
        return mapped(given, model_state, keys)

    return apply, params, {} if state is None else state
