"""Bounds on the size of updates."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import Interval, ScalarOrSchedule
from gradtx.core.leafwise import leafwise
from gradtx.core.transformation import GradientTransformationExtraArgs, transformation
from gradtx.core.tree import PyTree, at_most, global_norm, norm, rms, shrink
from gradtx.kinds import alias, checked

BOUND = Interval(0, closed_high=True)  # an infinite bound never clips


@checked
def clip(max_delta: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Bound each element of the updates.

        u = min(max(g, -max_delta), max_delta)

    A NaN stays NaN.

    Args:
        max_delta: bound of each element's size, in [0, inf]; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `max_delta` is a negative number.

    Source: Optax's function of that name.
    """
    return leafwise(
        "clip",
        lambda h: lambda g, p: jnp.clip(g, -h.max_delta, h.max_delta),
        max_delta=(max_delta, BOUND),
    )


clip_by_value = alias("clip_by_value", clip)


@checked
def clip_by_global_norm(max_norm: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Shrink all updates together to a bounded Euclidean norm.

        norm = sqrt(sum_leaves sum_i g_i^2)        u = g min(1, max_norm / norm)

    The norm is taken in at least float32, whatever the updates' dtypes, in one reduction a leaf;
    that of the last update is in `slots["norm"]`, float32, for the log. If it is not finite, every
    update is NaN: a single infinity never turns into a mixture of zeros and NaN that looks like a
    step. (Finite float32 updates above 1e19 overflow it, too.)

    >>> import jax.numpy as jnp
    >>> tx = clip_by_global_norm(1.0)
    >>> u, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> [round(x, 3) for x in u.tolist()], float(state.slots["norm"])
    ([0.6, 0.8], 5.0)

    Args:
        max_norm: bound of the norm, in [0, inf]; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `max_norm` is a negative number.

    Source: Pascanu et al. (2013), algorithm 1.
    """

    def update(updates: PyTree, slots: dict, params: PyTree, h: Any, **extra: Any):
        del params, extra
        size = global_norm(updates)
        bound = h.max_norm.astype(size.dtype)
        return shrink(updates, size, bound), {"norm": size.astype(jnp.float32)}

    start = lambda params: {"norm": jnp.zeros((), jnp.float32)}
    return transformation(
        "clip_by_global_norm", start, update, remembers=False, max_norm=(max_norm, BOUND)
    )


@checked
def clip_by_block_rms(threshold: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Shrink each leaf to a bounded root mean square.

        rms = sqrt(mean(g^2))        u = g / max(1, rms / threshold)

    Args:
        threshold: bound of the root mean square, in [0, inf]; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `threshold` is a negative number.

    Source: Shazeer and Stern (2018), section 6.
    """

    def rule(h: Any, g: jax.Array) -> jax.Array:
        return g * at_most(rms(g), h.threshold)

    return leafwise(
        "clip_by_block_rms",
        lambda h: lambda g, p: rule(h, g),
        per_leaf=True,
        threshold=(threshold, BOUND),
    )


@checked
def clip_by_block_norm(max_norm: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Shrink each leaf to a bounded Euclidean norm of its own.

        norm = sqrt(sum_i g_i^2)        u = g min(1, max_norm / norm)

    Args:
        max_norm: bound of each leaf's norm, in [0, inf]; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `max_norm` is a negative number.

    Source: Pascanu et al. (2013), algorithm 1, leaf by leaf.
    """

    def rule(h: Any, g: jax.Array) -> jax.Array:
        return g * at_most(norm(g), h.max_norm)

    return leafwise(
        "clip_by_block_norm",
        lambda h: lambda g, p: rule(h, g),
        per_leaf=True,
        max_norm=(max_norm, BOUND),
    )
