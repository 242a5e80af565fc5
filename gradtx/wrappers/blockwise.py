"""Numbers in 8 bits: a code each, and a scale for each block of them."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

DECADES = 7  # the exponents that a code can have


@cache
def dynamic_map(signed: bool) -> np.ndarray:
    """float32[256]: what the codes stand for, in order, from -1 or 0 to 1.

        sign 10^-e m        e = 0 ... 6, and m one of 2^(6 - e) numbers in [0.1, 1], the middles of
                            equal parts; without a sign one of twice as many; besides 0 and 1

    Few bits for the exponent leave many for `m`: numbers near 1 are told apart most finely.

    Args:
        signed: whether half of the codes are for negative numbers.

    Source: Dettmers et al. (2022), section 1.3 and figure 2: dynamic tree quantization, without a
    sign bit where no number is negative.
    """
    values = [0.0, 1.0]
    for e in range(DECADES):
        edges = np.linspace(0.1, 1.0, 2 ** (DECADES - 1 - e) * (1 if signed else 2) + 1)
        middles = 10.0**-e * (edges[:-1] + edges[1:]) / 2
        values += [*middles, *(-middles if signed else ())]
    return np.sort(np.asarray(values, np.float32))


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """The values of both maps, one after the other, and the bounds between neighbors of each."""
    maps = [dynamic_map(False), dynamic_map(True)]
    bounds = [np.append((x[:-1] + x[1:]) / 2, np.inf) for x in maps]
    return np.concatenate(maps), np.concatenate(bounds).astype(np.float32)


# Outside a program, one call in place of fifty; inside, nothing changes.
@partial(jax.jit, static_argnames="block_size", inline=True)
def quantize(x: jax.Array, block_size: int) -> tuple[jax.Array, jax.Array]:
    """The codes of an array, and the scale of each block of it.

        scale = max |x| of the block, negative if one of its numbers is
        code  = which value of the map is closest to x / |scale|        signed if scale < 0

    A block with a NaN or an infinity comes back as NaN. There is no derivative.

    Args:
        x: float[...].
        block_size: how many numbers have one scale, in the order of the flattened array; the last
            block may have fewer.

    Returns:
        uint8 of the shape of `x`; scales of its dtype, [number of blocks].
    """
    # A code does not change with its number, and half a derivative would be none.
    rows = _rows(jax.lax.stop_gradient(x), block_size)
    size, signed = jnp.max(jnp.abs(rows), axis=1), jnp.any(rows < 0, axis=1)
    part = rows / jnp.where(size == 0, 1, size)[:, None]
    start = jnp.where(signed, 256, 0)[:, None]
    bounds = jnp.asarray(_tables()[1], x.dtype)
    code = jnp.zeros(rows.shape, jnp.int32)
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):  # how many of the 255 bounds are below
        code = code + jnp.where(part > bounds[start + code + (bit - 1)], bit, 0)
    return _unrows(code, x).astype(jnp.uint8), jnp.where(signed, -size, size)


@partial(jax.jit, static_argnames="block_size", inline=True)
def dequantize(code: jax.Array, scale: jax.Array, block_size: int) -> jax.Array:
    """The inverse of `quantize`, up to rounding.

        x = map[code] |scale|

    Args:
        code: uint8[...].
        scale: float[number of blocks].
        block_size: as it was quantized with.

    Returns:
        An array of the shape of `code` and the dtype of `scale`.
    """
    rows = _rows(code, block_size).astype(jnp.int32)
    start = jnp.where(scale < 0, 256, 0)[:, None]
    values = jnp.asarray(_tables()[0], scale.dtype)
    return _unrows(values[start + rows] * jnp.abs(scale)[:, None], code)


def blocks_that_differ(x: jax.Array, y: jax.Array, block_size: int) -> jax.Array:
    """bool[number of blocks]: in which blocks two arrays of one shape are not the same.

    Args:
        x: an array.
        y: another.
        block_size: as for `quantize`.
    """
    return jnp.any(_rows(x, block_size) != _rows(y, block_size), axis=1)


def spread(of_blocks: jax.Array, like: jax.Array, block_size: int) -> jax.Array:
    """What is said of each block, of each number.

    Args:
        of_blocks: [number of blocks].
        like: an array of the shape of the result.
        block_size: as for `quantize`.
    """
    return _unrows(jnp.broadcast_to(of_blocks[:, None], (len(of_blocks), block_size)), like)


def _rows(x: jax.Array, block_size: int) -> jax.Array:
    """A row for each block, the last filled up with zeros."""
    flat = x.reshape(-1)
    return jnp.pad(flat, (0, -flat.size % block_size)).reshape(-1, block_size)


def _unrows(rows: jax.Array, like: Any) -> jax.Array:
    return rows.reshape(-1)[: like.size].reshape(like.shape)
