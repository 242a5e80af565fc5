"""Slow parameters that follow the fast ones."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.hyperparams import REAL, ScalarOrSchedule
from gradtx.core.state import update_inner, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, cast_like, cast_state, compute_dtype, is_none, select, upcast
from gradtx.kinds import Count, checked


@checked
def lookahead(
    fast_optimizer: optax.GradientTransformation,
    sync_period: Count = 5,
    slow_step_size: ScalarOrSchedule = 0.5,
    reset_state: bool = False,
) -> GradientTransformationExtraArgs:
    """Every few updates, go back part of the way to where the last such return ended.

        every sync_period-th update:   slow' = slow + slow_step_size (p + fast - slow)
                                       u     = slow' - p
        otherwise:                     u     = fast

    `fast` is the update of `fast_optimizer`. `slow` starts as a copy of the parameters, in at least
    float32. Parameters are one tree. Of a pair of them, `LookaheadParams(fast, slow)`, which Optax
    wants, both are moved as in Optax, and the gradients are those with respect to the fast ones.

    Args:
        fast_optimizer: the transformation whose updates are followed.
        sync_period: number of updates from one return to the next, at least 1.
        slow_step_size: share of the way from `slow` to the fast parameters, finite; a number, a
            schedule or a JAX scalar.
        reset_state: whether `fast_optimizer` starts anew after each return.

    Raises:
        TypeError: if `fast_optimizer` is no gradient transformation.
        ValueError: if `sync_period` is not positive, `slow_step_size` an infinite number; on
            `update`, without `params`.

    Source: Zhang et al. (2019), algorithm 1, whose k and alpha these are.
    """
    inner = as_transformation("lookahead", "`fast_optimizer`", fast_optimizer)

    def init(params: PyTree) -> dict[str, Any]:
        if isinstance(params, optax.LookaheadParams):
            slow, params = (), params.fast
        else:
            slow = jax.tree.map(lambda p: jnp.array(p, compute_dtype(p)), params)
        fast = inner.init(params)  # with a counter of its own, if that starts anew, too
        return {"slow": slow, "fast": fast if reset_state else without_count(fast)}

    def update(
        updates: PyTree, slots: dict, params: PyTree, h: Any, slow_params: Any = None, **extra: Any
    ):
        sync = (h.count + 1) % sync_period == 0
        if reset_state:
            fast, state = inner.update(upcast(updates), slots["fast"], params, **extra)
            state = select(sync, inner.init(params), cast_state("lookahead", state, slots["fast"]))
        else:
            fast, state = update_inner(inner, updates, slots["fast"], params, h.count, **extra)

        def follow(slow: Any, p: Any, u: Any) -> Any:
            if u is None or slow is None:
                return slow
            ahead = jnp.asarray(p, slow.dtype) + jnp.asarray(u, slow.dtype)
            return jnp.where(
                sync, slow + h.slow_step_size.astype(slow.dtype) * (ahead - slow), slow
            )

        def move(slow: Any, p: Any, u: Any) -> Any:
            if u is None or slow is None:
                return u
            back = slow - jnp.asarray(p, slow.dtype)
            return jnp.where(sync, back, u.astype(slow.dtype))

        old = slots["slow"] if slow_params is None else jax.tree.map(jnp.asarray, slow_params)
        slow = jax.tree.map(follow, old, params, fast, is_leaf=is_none)
        out = cast_like(jax.tree.map(move, slow, params, fast, is_leaf=is_none), updates)
        if slow_params is None:
            return out, {"slow": slow, "fast": state}
        return optax.LookaheadParams(out, jax.tree.map(jnp.subtract, slow, old)), {
            "slow": slots["slow"],
            "fast": state,
        }

    tx = transformation(
        "lookahead",
        init,
        update,
        needs_params=True,
        parts=(inner,),
        slow_step_size=(slow_step_size, REAL),
    )
    return _of_pairs_too(tx)


def _of_pairs_too(tx: Any) -> GradientTransformationExtraArgs:
    """`tx`, which also takes the parameters as a pair of fast and slow ones."""

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        if isinstance(params, optax.LookaheadParams):
            params, extra = params.fast, {**extra, "slow_params": params.slow}
        return tx.update(updates, state, params, **extra)

    made: Any = update
    made.structure = replace(tx.update.structure, update=made)
    return GradientTransformationExtraArgs(tx.init, made)
