"""Clipping that bounds each unit's update by the size of its parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import NON_NEGATIVE, Interval, ScalarOrSchedule
from gradtx.core.leafwise import leafwise
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, at_most
from gradtx.kinds import checked

Axes = int | tuple[int, ...]


@checked
def adaptive_grad_clip(
    clipping: ScalarOrSchedule, eps: ScalarOrSchedule = 1e-3, axis: Axes | None = None
) -> GradientTransformationExtraArgs:
    """Bound the norm of each unit's update by a multiple of the norm of its parameters.

        bound = clipping max(|p|, eps)        u = g min(1, bound / |g|)        for each unit

    A unit is what feeds one output. Norms run over `axis`, or by default over everything in a
    vector, the first axis of two or three, and all but the last of four or more.

    Args:
        clipping: bound of the ratio of the two norms, in [0, inf]; a number, a schedule or a JAX
            scalar, like all that have an interval.
        eps: least norm of the parameters that counts, in [0, inf), so that those at 0 can move.
        axis: the axis or axes that a unit's norm runs over; by default as above.

    Raises:
        ValueError: if `clipping` or `eps` is a negative number; on `update`, without `params`.

    Source: Brock et al. (2021), equation 3.
    """

    def rule(h: Any, g: jax.Array, p: jax.Array) -> jax.Array:
        bound = h.clipping * jnp.maximum(unitwise_norm(p, axis), h.eps)
        return g * at_most(unitwise_norm(g, axis), bound)

    return leafwise(
        "adaptive_grad_clip",
        lambda h: lambda g, p: rule(h, g, p),
        needs_params=True,
        clipping=(clipping, Interval(0, closed_high=True)),
        eps=(eps, NON_NEGATIVE),
        per_leaf=True,
    )


def unitwise_norm(x: jax.Array, axis: Axes | None = None) -> jax.Array:
    """Euclidean norm of each unit of `x`, at each of its places: an array of the shape of `x`.

        norm = sqrt(sum over axis of x^2)

    Args:
        x: the array.
        axis: the axis or axes to reduce; by default those of `adaptive_grad_clip`.

    Raises:
        ValueError: if `x` has no such axis, or more than five and `axis` says nothing.

    Source: Brock et al. (2021), equation 3.
    """
    if axis is None and x.ndim > 5:
        raise ValueError(
            f"adaptive_grad_clip: `axis` must be given for a leaf of more than five axes; got shape"
            f" {x.shape}. Name the axes of the inputs, such as axis=tuple(range({x.ndim - 1}))."
        )
    if axis is None:
        inputs = 1 if x.ndim <= 3 else x.ndim - 1
        axis = tuple(range(x.ndim if jnp.squeeze(x).ndim <= 1 else inputs))
    axes = (axis,) if isinstance(axis, int) else axis
    if not all(-x.ndim <= a < x.ndim for a in axes):
        raise ValueError(
            f"adaptive_grad_clip: `axis` must be among the axes of each leaf; got {axis} for a leaf"
            f" of shape {x.shape}. Leave it out for the usual ones."
        )
    return jnp.broadcast_to(root(jnp.sum(abs_sq(x), axis=axis, keepdims=True)), x.shape)
