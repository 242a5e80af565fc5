"""Statistics of what a model lets one see of its layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import PyTree
from gradtx.kinds import checked
from gradtx.loop.rows import gathered

# What `activation_statistics` returns, in this order.
STATISTICS = ("activation_mean", "activation_std", "dead", "saturated")
SATURATED = 0.99  # of the largest magnitude


def activation_statistics(x: jax.Array) -> jax.Array:
    """What the outputs of one layer look like in a batch: float32[4].

        activation_mean, activation_std = mean(x), std(x)
        dead = share of units that are 0 for every example
        saturated = share of the values with |x| >= 0.99 max |x|

    A unit is an index of the last axis, as a channel is. A ReLU that is dead gives 0 for every
    example and has no gradient; where tanh or a sigmoid is saturated, nearly all of its values are
    at its bound. Of a layer that is 0 throughout no value is saturated.

    >>> found = activation_statistics(jnp.array([[0.0, 2.0], [0.0, 4.0]]))
    >>> [round(x, 2) for x in found.tolist()]
    [1.5, 1.66, 0.5, 0.25]

    Args:
        x: [examples, ..., units], real.
    """
    x = jnp.asarray(x).astype(jnp.float32)
    x = x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
    size = jnp.abs(x)
    dead = jnp.mean(jnp.all(x == 0, axis=0).astype(jnp.float32))
    top = jnp.max(size)
    full = (size >= SATURATED * top) & (top > 0)
    return jnp.stack([jnp.mean(x), jnp.std(x), dead, jnp.mean(full.astype(jnp.float32))])


def statistics_of(sown: PyTree) -> PyTree:
    """The statistics of each array in what a module has sown.

    Args:
        sown: a collection, as `module.apply(..., mutable=[...])` returns it.
    """
    return jax.tree.map(activation_statistics, sown)


@checked
def with_sown(
    apply: Callable[..., Any],
    params: PyTree,
    model_state: PyTree,
    batch: Any,
    *,
    sown: str = "intermediates",
) -> dict[str, PyTree]:
    """The model's state with room for the statistics of what it sows, all 0.

        Loop(apply, ...).init(params, with_sown(apply, params, model_state, batch))

    Args:
        apply: of `from_linen(module, sown=...)`.
        params: the parameters.
        model_state: the model's state without what it sows; None or {} for none.
        batch: of training, or its `jax.ShapeDtypeStruct`s.
        sown: the collection.

    Raises:
        ValueError: if the model sows nothing there.
    """
    state = {**(model_state or {}), sown: {}}
    run = lambda params, state, batch: apply(
        params, state, gathered(batch), key=jax.random.key(0), training=True
    )
    found = jax.eval_shape(run, params, state, batch)[1].get(sown)
    if not jax.tree.leaves(found):
        raise ValueError(
            f"with_sown: the model must sow into the collection {sown!r}; got nothing. Write"
            f" self.sow({sown!r}, 'name', x) in the module, and pass sown={sown!r} to from_linen."
        )
    return {**state, sown: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found)}
