"""A batch in equal parts, one after another: the memory of one part, the gradient of all."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.examples import has_rows
from gradtx.core.tree import compute_dtype
from gradtx.loop.dispatch import HookStates
from gradtx.loop.looped import is_slow_in_a_loop
from gradtx.loop.state import PyTree, StepContext

CARRIED = ("requested", "model_state", "opt_state", "metrics")
# (hooks' states, context) -> (gradients, hooks' states, context, whether backward was opened)
Gradient = Callable[[HookStates, StepContext], tuple[PyTree, HookStates, StepContext, Any]]


def split(batch: PyTree, parts: int, count: int) -> PyTree:
    """Rows [B, ...] as [parts, B / parts, ...]; part k has the rows k, k + parts, k + 2 parts, ...

    So each device of a mesh keeps the rows that it has. What has no rows is the same in all parts.

    Args:
        batch: a pytree of arrays.
        parts: how many.
        count: B, the number of examples.

    Raises:
        ValueError: unless `parts` divides `count`.
    """
    if count % parts:
        raise ValueError(
            f"Loop: `microbatches` must divide the number of examples in a batch; got {parts}, and"
            f" {count} examples. Choose a divisor, or another batch size."
        )

    def of(x: Any) -> Any:
        if not has_rows(x, count):
            return jnp.broadcast_to(x, (parts, *jnp.shape(x)))
        return x.reshape(count // parts, parts, *jnp.shape(x)[1:]).swapaxes(0, 1)

    return jax.tree.map(of, batch)


def joined(tree: PyTree, count: int) -> PyTree:
    """What parts have made, in the order of the batch: the inverse of `split`.

    Args:
        tree: arrays [parts, ...]; what has no row for each example is that of the last part.
        count: the number of examples in the batch.
    """

    def of(x: jax.Array) -> jax.Array:
        parts = x.shape[0]
        if x.ndim < 2 or x.shape[1] != count // parts:
            return x[-1]
        return x.swapaxes(0, 1).reshape(count, *x.shape[2:])

    return jax.tree.map(of, tree)


def accumulated(
    gradient: Gradient, states: HookStates, context: StepContext, *, parts: int, count: int
) -> tuple[PyTree, HookStates, StepContext, tuple[jax.Array, jax.Array]]:
    """The gradient of a batch by that of its parts, each weighted by what it counts for.

        g = sum_k weight_k g_k / sum_k weight_k        loss, objective: likewise

    The sums are float32 where gradients are lower. The model's state and the hooks' states go from
    part to part. Part k has the random numbers of fold_in(key, k). Returns last whether the
    backward level was opened in any part, and in all.

    Args:
        gradient: that of one part, as `Gradient` says.
        states: the hooks' states.
        context: with the whole batch.
        parts: how many.
        count: the number of examples in the batch.
    """
    rows = split(context.batch, parts, count)
    keys = jax.vmap(lambda k: jax.random.fold_in(context.key, k))(jnp.arange(parts))
    carried = {name: getattr(context, name) for name in CARRIED}

    def one(carry: tuple, part: tuple) -> tuple[tuple, Any]:
        states, carried, sums, (some, all_) = carry
        batch, key = part
        mine = context.replace(batch=batch, key=key, **carried)
        grads, states, seen, opened = gradient(states, mine)
        means = grads, seen.loss, seen.objective
        scale = lambda x: x.astype(compute_dtype(x)) * seen.weight.astype(jnp.finfo(x.dtype).dtype)
        made = *jax.tree.map(scale, means), seen.weight
        sums = made if sums is None else jax.tree.map(jnp.add, sums, made)
        carried = {name: getattr(seen, name) for name in CARRIED}
        opened = some | opened, all_ & opened
        return (states, carried, sums, opened), (seen.pred, means)

    first = jax.tree.map(lambda x: x[0], (rows, keys))
    opened = jnp.zeros((), bool), jnp.ones((), bool)
    began = lambda sums: (states, carried, sums, opened)
    trace = jax.make_jaxpr(lambda part: one(began(None), part), return_shape=True)
    program, like = trace(first)
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like[0][2])
    # One after another without a loop they take the memory of all.
    slow = jax.default_backend() == "cpu" and is_slow_in_a_loop(program.jaxpr)
    scan = partial(jax.lax.scan, one, unroll=parts if slow else 1)
    carry, (preds, _) = scan(began(sums), (rows, keys))
    states, carried, (*sums, total), opened = carry
    safe = jnp.where(total > 0, total, 1)
    mean = lambda x, like: (x / safe.astype(jnp.finfo(x.dtype).dtype)).astype(like.dtype)
    grads, loss, objective = jax.tree.map(mean, tuple(sums), like[1][1])
    context = context.replace(
        pred=joined(preds, count), loss=loss, objective=objective, weight=total, **carried
    )
    return grads, states, context, opened
