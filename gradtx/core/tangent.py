"""Values that stay as they are, with other derivatives: none, or those of another value."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def as_number(value: jax.Array) -> jax.Array:
    """`value`, whose derivative is 0, as by `jax.lax.stop_gradient`.

    It is for a derivative that comes in again by `with_tangent_of`, so that
    `gradtx.tuning.obstacles` does not list it.

    Args:
        value: float[...].
    """
    return value


@as_number.defjvp
def _no_tangent(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return as_number(*primals), jnp.zeros_like(tangents[0])


@jax.custom_jvp
def with_tangent_of(value: jax.Array, source: jax.Array) -> jax.Array:
    """`value`, whose derivative is its own and that of `source`.

        y = value        dy = dvalue + dsource

    >>> f = lambda x: with_tangent_of(as_number(3 * x), x**2)
    >>> [float(y) for y in jax.value_and_grad(f)(3.0)]
    [9.0, 6.0]

    Args:
        value: float[...].
        source: of the same shape and dtype.
    """
    del source
    return value


@with_tangent_of.defjvp
def _both_tangents(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return with_tangent_of(*primals), tangents[0] + tangents[1]
