"""Slow parameters that follow the fast ones."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.hyperparams import CLOSED_UNIT, ScalarOrSchedule
from gradtx.core.state import update_inner, without_count
from gradtx.core.transformation import GradientTransformation, as_transformation, transformation
from gradtx.core.tree import PyTree, compute_dtype, is_none
from gradtx.kinds import Count, checked


@checked
def lookahead(
    fast_optimizer: optax.GradientTransformation,
    sync_period: Count = 5,
    slow_step_size: ScalarOrSchedule = 0.5,
) -> GradientTransformation:
    """Every few updates, go back part of the way to where the last such return ended.

        every sync_period-th update:   slow' = slow + slow_step_size (p + fast - slow)
                                       u     = slow' - p
        otherwise:                     u     = fast

    `fast` is the update of `fast_optimizer`. `slow` starts as a copy of the parameters, in at least
    float32. Parameters are one tree: Optax's `lookahead` wants a pair of fast and slow ones and
    with it another training loop.

    Args:
        fast_optimizer: the transformation whose updates are followed.
        sync_period: number of updates from one return to the next, at least 1.
        slow_step_size: share of the way from `slow` to the fast parameters, in [0, 1]; a number, a
            schedule or a JAX scalar.

    Raises:
        ValueError: if `sync_period` is not positive, `slow_step_size` a number outside [0, 1]; on
            `update`, without `params`.

    Source: Zhang et al. (2019), algorithm 1, whose k and alpha these are.
    """
    inner = as_transformation("lookahead", "`fast_optimizer`", fast_optimizer)

    def init(params: PyTree) -> dict[str, Any]:
        slow = jax.tree.map(lambda p: jnp.array(p, compute_dtype(p)), params)
        return {"slow": slow, "fast": without_count(inner.init(params))}

    def update(updates: PyTree, slots: dict, params: PyTree, h: Any, **extra: Any):
        fast, state = update_inner(inner, updates, slots["fast"], params, h.count, **extra)
        sync = (h.count + 1) % sync_period == 0

        def follow(slow: Any, p: Any, u: Any) -> Any:
            if u is None or slow is None:
                return slow
            ahead = jnp.asarray(p, slow.dtype) + jnp.asarray(u, slow.dtype)
            return jnp.where(
                sync, slow + h.slow_step_size.astype(slow.dtype) * (ahead - slow), slow
            )

        def move(slow: Any, p: Any, u: Any, g: Any) -> Any:
            if u is None or slow is None:
                return u
            back = slow - jnp.asarray(p, slow.dtype)
            return jnp.where(sync, back, u.astype(slow.dtype)).astype(jnp.result_type(g))

        slow = jax.tree.map(follow, slots["slow"], params, fast, is_leaf=is_none)
        out = jax.tree.map(move, slow, params, fast, updates, is_leaf=is_none)
        return out, {"slow": slow, "fast": state}

    return transformation(
        "lookahead",
        init,
        update,
        needs_params=True,
        parts=(inner,),
        slow_step_size=(slow_step_size, CLOSED_UNIT),
    )
