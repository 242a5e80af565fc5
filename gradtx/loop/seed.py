"""A seed as the key that all random numbers come from."""

from typing import Any

import jax
import jax.numpy as jnp


def key_of(where: str, seed: Any) -> jax.Array:
    """A typed key: that of an integer, or the key that is given.

    Args:
        where: the function that was given the seed, for the message.
        seed: an integer, also a traced one, or a typed key.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is an integer of more than 64 bits.
    """
    if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return seed
    dtype = getattr(seed, "dtype", type(seed))
    is_whole = isinstance(seed, int) or jnp.issubdtype(dtype, jnp.integer)
    if not is_whole or jnp.ndim(seed) != 0:
        raise TypeError(
            f"{where}: `seed` must be an integer or a typed key; got {seed!r:.60}. Pass for example"
            " seed=0 or jax.random.key(0)."
        )
    if isinstance(seed, int) and not -(2**63) <= seed < 2**63:
        raise ValueError(
            f"{where}: `seed` must be an integer of 64 bits; got one of {seed.bit_length()}. Pass"
            " for example seed=0."
        )
    return jax.random.key(seed)
