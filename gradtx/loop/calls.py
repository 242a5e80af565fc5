"""Calling the functions of a loop, and what they must return."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import path_name
from gradtx.loop.again import Again, with_those_it_takes
from gradtx.loop.calling import parameters_of
from gradtx.loop.form import difference, spec
from gradtx.loop.loop import Loop
from gradtx.loop.naming import named
from gradtx.loop.state import PyTree, StepContext


def call_apply(loop: Loop, context: StepContext) -> tuple[PyTree, PyTree]:
    """The prediction and the model's new state, which has the form of the old one."""
    with named("Loop.apply", f"the batch {spec(context.batch)}", own=True):
        out = loop.apply(
            context.params,
            context.model_state,
            context.batch,
            key=context.key,
            training=context.training,
        )
    if not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(
            f"Loop.apply: must return (pred, model_state); got {spec(out)}. End it with `return"
            " pred, model_state`, which is what came in if the model has no state."
        )
    return out[0], _like(context.model_state, out[1])


def call_loss(loop: Loop, context: StepContext) -> jax.Array:
    """The losses of the examples, which must be floats."""
    with named("Loop.loss", f"the batch {spec(context.batch)}", own=True):
        losses = _labelled(loop, loop.loss)(context.pred, context.batch)
    if not jnp.issubdtype(_array("Loop.loss", losses).dtype, jnp.floating):
        raise TypeError(
            f"Loop.loss: must return floats, since others have no gradient; got {spec(losses)}."
            " Cast what it is computed from."
        )
    return losses


def call_metrics(loop: Loop, context: StepContext) -> dict[str, jax.Array]:
    """The values of the examples for each metric."""
    values = {}
    for name, metric in loop.metrics.items():
        where = f"Loop.metrics[{name!r}]"
        with named(where, f"the batch {spec(context.batch)}", own=True):
            value = _labelled(loop, metric)(context.pred, context.batch)
        values[name] = _array(where, value)
    return values


def call_update(loop: Loop, context: StepContext, again: Again) -> tuple[PyTree, PyTree]:
    """The optimizer's updates and its new state."""
    update = partial(loop.tx.update, context.grads, context.opt_state, context.params)
    with named("Loop.tx.update", own=True):
        out = with_those_it_takes(update, again.arguments(context.objective, context.grads))
    if not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(
            f"Loop.tx.update: must return (updates, state); got {spec(out)}. End it with `return"
            " updates, state`."
        )
    return out


def _labelled(loop: Loop, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the loop's name of the labels, if it takes one and has none bound."""
    bound = getattr(function, "keywords", {})
    if loop.label is None or "label" in bound or "label" not in parameters_of(function):
        return function
    return partial(function, label=loop.label)


def _array(where: str, value: Any) -> jax.Array:
    if not hasattr(value, "dtype") or not hasattr(value, "ndim"):
        raise TypeError(
            f"{where}: must return an array, one value for each example; got {spec(value)}. Return"
            " that alone."
        )
    return value


def _like(old: PyTree, new: PyTree) -> PyTree:
    """`new` in the containers of `old`: Flax, say, gives back a dict for a FrozenDict.

    Raises:
        ValueError: if its leaves are others.
    """
    if jax.tree.structure(old) != jax.tree.structure(new):
        named_leaves = lambda tree: {path_name(k): x for k, x in jax.tree.leaves_with_path(tree)}
        got, want = named_leaves(new), named_leaves(old)
        if got.keys() == want.keys():
            new = jax.tree.unflatten(jax.tree.structure(old), [got[name] for name in want])
    problem = difference(new, old)
    if problem:
        raise ValueError(
            "Loop.apply: the model state must keep its structure, shapes and dtypes; got"
            f" {problem}. Return what came in, or cast the new value to its dtype."
        )
    return new
