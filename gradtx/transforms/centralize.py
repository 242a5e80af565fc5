"""Gradients without their mean."""

import jax
import jax.numpy as jnp

from gradtx.core.leafwise import leafwise
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked


@checked
def centralize(*, output_axis: int = 0) -> GradientTransformationExtraArgs:
    """Subtract the mean of each output unit's update.

        u = g - mean(g over all axes but output_axis)        in leaves of two or more dimensions

    `output_axis=0`, Optax's choice, is PyTorch's layout of weights; Flax's has the output last, so
    pass -1 there.

    >>> import jax.numpy as jnp
    >>> tx = centralize()
    >>> g = jnp.array([[1.0, 3.0], [5.0, 9.0]])
    >>> tx.update(g, tx.init(g))[0].tolist()
    [[-1.0, 1.0], [-2.0, 2.0]]

    Args:
        output_axis: the axis along which each place keeps its own mean.

    Raises:
        ValueError: on `update`, if a leaf of two or more dimensions has no such axis.

    Source: Yong et al. (2020), equation 1.
    """

    def rule(g: jax.Array) -> jax.Array:
        if g.ndim < 2:
            return g
        if not -g.ndim <= output_axis < g.ndim:
            raise ValueError(
                f"centralize: `output_axis` must be an axis of each leaf of two or more dimensions;"
                f" got {output_axis} for a leaf of shape {g.shape}. Pass -1 for the last one."
            )
        others = tuple(axis for axis in range(g.ndim) if axis != output_axis % g.ndim)
        return g - jnp.mean(g, axis=others, keepdims=True)

    return leafwise("centralize", lambda h: lambda g, p: rule(g), per_leaf=True)
