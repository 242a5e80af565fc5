"""Models of Flax nnx, whose modules hold their arrays, as pure functions."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import checked
from gradtx.loop.calling import Entry, check_call, inputs_of, mode_of, told
from gradtx.loop.frozen_norms import keep_nnx_norms
from gradtx.loop.state import PyTree


@checked
def from_nnx(
    model: Any, *, inputs: Entry | Sequence[Entry] = "image"
) -> tuple[Callable[..., Any], PyTree, PyTree]:
    """`apply` for `Loop`, from a Flax nnx module, with its parameters and the rest of its state.

        apply, params, model_state = from_nnx(model)        loop.init(params, model_state)
        pred, model_state' = model(batch[inputs])           with params and model_state put into it

    `params` are the module's `nnx.Param`s and `model_state` its other variables, as nested dicts of
    arrays; the module itself is not changed. It is in its training mode (`model.train()`) in
    training, and else in the other (`model.eval()`); a module whose call takes `train`,
    `deterministic` or the like is told by that, too. Its streams of random numbers start at every
    step from the step's key, so they are no state. What it sows is dropped.

    Put the trained arrays into a module by `nnx_module`.

    Args:
        model: an nnx module.
        inputs: the batch's entry that is the module's input, or several in order, each by its
            name or its place; of a pair (inputs, labels) the first.

    Raises:
        TypeError: if it is no module, or does not take its inputs.
        ValueError: in training, if the batch has no such entry.
    """
    from flax import nnx

    _check_module(nnx, "from_nnx", model)
    mode = mode_of(type(model).__call__, by_default="")
    check_call("from_nnx: `model`", model, inputs, mode)

    def in_mode(training: bool) -> tuple[Any, ...]:
        module = nnx.merge(*nnx.split(model))  # another one, around the same arrays
        module.train() if training else module.eval()
        return _split(nnx, module)

    modes = {training: in_mode(training) for training in (True, False)}

    def apply(params: PyTree, model_state: PyTree, batch: Any, *, key: jax.Array, training: bool):
        graph, *states = modes[training]
        given = inputs_of("from_nnx", batch, inputs)
        states = [
            _filled(nnx, states[0], params),
            _seeded(nnx, states[1], key),
            _filled(nnx, states[2], model_state),
        ]
        module = nnx.merge(graph, *states)
        keep_nnx_norms(nnx, module)
        pred = module(*given, **told(mode, training=training))
        return pred, nnx.to_pure_dict(_split(nnx, module)[3])

    _, params, _, rest = modes[True]
    return apply, nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


@checked
def nnx_module(model: Any, params: PyTree, model_state: PyTree) -> Any:
    """A copy of an nnx module with trained arrays in it.

        module = model  with  params and model_state  in place of its own

    Args:
        model: the module that `from_nnx` was given.
        params: like the parameters that it returned.
        model_state: like the state that it returned.

    Raises:
        TypeError: if it is no module.
        ValueError: if it has no place for an array.
    """
    from flax import nnx

    _check_module(nnx, "nnx_module", model)
    graph, own, rng, rest = _split(nnx, model)
    return nnx.merge(graph, _filled(nnx, own, params), rng, _filled(nnx, rest, model_state))


def _check_module(nnx: Any, where: str, model: Any) -> None:
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"{where}: `model` must be a flax.nnx.Module; got {model!r:.200}. Make the module"
            " first: Net(rngs=nnx.Rngs(0)); a linen module is for from_linen."
        )


def _split(nnx: Any, module: Any) -> tuple[Any, ...]:
    """The graph, the parameters, the random numbers and the rest; without what was sown."""
    found = nnx.split(module, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
    return found[0], found[1], found[2], found[4]


def _filled(nnx: Any, state: Any, arrays: PyTree) -> Any:
    """`state` with other arrays."""
    new = jax.tree.map(lambda x: x, state)
    nnx.replace_by_pure_dict(new, arrays)
    return new


def _seeded(nnx: Any, state: Any, key: jax.Array) -> Any:
    """Streams of random numbers from their start, each from a key of its own."""
    leaves, structure = jax.tree.flatten(state)
    for i, leaf in enumerate(leaves):
        own = jax.random.fold_in(key, i)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaves[i] = jnp.zeros_like(leaf)  # the count
        else:
            leaves[i] = jax.random.split(own, leaf.shape) if leaf.shape else own
    return jax.tree.unflatten(structure, leaves)
