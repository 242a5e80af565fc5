"""The square root that can be differentiated at 0, as a training from zeros must be."""

from functools import partial

import jax
import jax.numpy as jnp


@jax.custom_jvp
def _root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(x)


@_root.defjvp
def _root_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    zero = x == 0
    slope = jnp.where(zero, 0, 0.5 / jnp.sqrt(jnp.where(zero, 1, x)))
    return _root(x), slope * dx


# Inlined, it is the plain `sqrt` in the program, and is traced once for each shape.
@partial(jax.jit, inline=True)
def root(x: jax.Array) -> jax.Array:
    """The square root of `x`, whose derivative at 0 is 0 and not infinite.

        root(x) = sqrt(x)        root'(x) = 1 / (2 sqrt(x))  where x != 0,  else  0

    The infinite one, times the 0 that comes before it in norms and second moments, would be NaN.

    >>> jax.grad(lambda x: root(jnp.vdot(x, x)))(jnp.zeros(2)).tolist()
    [0.0, 0.0]

    Args:
        x: float[...], not negative.
    """
    return _root(x)
