"""Calling the functions of a loop, and what they must return."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from gradtx.core.tree import path_name
from gradtx.loop.again import Again, with_those_it_takes
from gradtx.loop.calling import with_label
from gradtx.loop.form import difference, spec
from gradtx.loop.loop import Loop
from gradtx.loop.metric import Running, as_metric, per_example
from gradtx.loop.naming import named
from gradtx.loop.state import PyTree, StepContext


def call_apply(loop: Loop, context: StepContext) -> tuple[PyTree, PyTree]:
    """The prediction and the model's new state, which has the form of the old one."""
    apply = partial(loop.apply, training=context.training)
    if context.training and loop.remat:
        policy = loop.remat if callable(loop.remat) else None
        apply = jax.checkpoint(apply, policy=policy)
    with named("Loop.apply", f"the batch {spec(context.batch)}", own=True):
        out = apply(context.params, context.model_state, context.batch, key=context.key)
    if not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(
            f"Loop.apply: must return (pred, model_state); got {spec(out)}. End it with `return"
            " pred, model_state`, which is what came in if the model has no state."
        )
    return out[0], _like(context.model_state, out[1])


def call_loss(loop: Loop, context: StepContext) -> tuple[jax.Array, jax.Array | None]:
    """The losses of the examples, which must be floats, and of how many terms each is the sum."""
    where, loss = "Loop.loss", loop.loss
    if loop.valid_loss is not None and not context.training:
        where, loss = "Loop.valid_loss", loop.valid_loss
    with named(where, f"the batch {spec(context.batch)}", own=True):
        out = with_label(loss, loop.label)(context.pred, context.batch)
    losses, counts = per_example(where, out)
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(
            f"{where}: must return floats, since others have no gradient; got {spec(losses)}."
            " Cast what it is computed from."
        )
    return losses, counts


def call_metrics(
    loop: Loop, kind: str, running: Mapping[str, Running], context: StepContext, weight: jax.Array
) -> dict[str, Running]:
    """The loop's `metrics` or `train_metrics` with a batch more.

    Args:
        loop: whose they are.
        kind: which of the two.
        running: as they are so far, by name.
        context: with the prediction and the batch.
        weight: float32[B], what each example counts for.
    """
    new = {}
    for name, given in getattr(loop, kind).items():
        where, state = f"Loop.{kind}[{name!r}]", running[name].state
        metric = as_metric(given, where)
        with named(where, f"the batch {spec(context.batch)}", own=True):
            update = with_label(metric.update, loop.label)
            out = update(state, context.pred, context.batch, weight)
        if problem := difference(out, state):
            raise ValueError(
                f"{where}.update: the metric's state must keep its structure, shapes and dtypes;"
                f" got {problem}. Cast what is added to what `init` returns."
            )
        new[name] = replace(running[name], state=out)
    return new


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
