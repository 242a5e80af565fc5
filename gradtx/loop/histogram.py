"""Counts of numbers in fixed bins that are spaced by their logarithm, on both sides of zero."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SHORT = 2**14  # elements
LOWEST, HIGHEST = -27, 7  # powers of two: 7.5e-9 to 128
# float64[70]: -2^7, -2^6, ..., -2^-27, 2^-27, ..., 2^7. They bound len(HISTOGRAM_EDGES) + 1 bins,
# of which the first and the last have no outer bound, and the one in the middle holds zero.
_MAGNITUDES = 2.0 ** np.arange(LOWEST, HIGHEST + 1)
HISTOGRAM_EDGES = np.concatenate([-_MAGNITUDES[::-1], _MAGNITUDES])


def histogram(x: Any) -> jax.Array:
    """How many numbers are in each bin: int32[len(HISTOGRAM_EDGES) + 1].

        counts[i] = sum(HISTOGRAM_EDGES[i - 1] <= x < HISTOGRAM_EDGES[i])

    Bins double in width from one to the next away from zero, so one list of edges, the powers of
    two from 2^-27 to 2^7 with both signs, serves gradients, parameters and updates of every model.
    A NaN is in no bin. Of complex numbers the absolute values are counted.

    >>> counts = histogram(jnp.array([-0.75, 0.0, 0.5, 1.0]))
    >>> [(float(HISTOGRAM_EDGES[i - 1]), int(counts[i])) for i in np.flatnonzero(counts)]
    [(-1.0, 1), (-7.450580596923828e-09, 1), (0.5, 1), (1.0, 1)]

    Args:
        x: any array of numbers.
    """
    bins = len(HISTOGRAM_EDGES) + 1
    place = _places(x)
    return jax.lax.platform_dependent(
        place, cpu=lambda place: _scattered(place, bins), default=_compared
    )


def histograms(arrays: Sequence[Any]) -> jax.Array:
    """The histogram of each of some arrays: int32[arrays, bins].

        histograms(arrays)[i] = histogram(arrays[i])

    Short ones are counted together, which has one loop to compile and to start instead of many.

    Args:
        arrays: of numbers.
    """
    bins = len(HISTOGRAM_EDGES) + 1
    short = [i for i, x in enumerate(arrays) if jnp.size(x) <= SHORT]
    counts = {i: histogram(x) for i, x in enumerate(arrays) if i not in short}
    if short:
        # A bin of its own for each array; a NaN, which is in none, stays behind all of them.
        sizes = [jnp.size(arrays[i]) for i in short]
        owner = jnp.concatenate([jnp.full(size, n, jnp.int32) for n, size in enumerate(sizes)])
        place = _places(jnp.concatenate([_reals(arrays[i]) for i in short]))
        place = jnp.where(place < bins, place + owner * bins, len(short) * bins)
        both = _scattered(place, len(short) * bins).reshape(len(short), bins)
        counts |= dict(zip(short, both, strict=True))
    return jnp.stack([counts[i] for i in range(len(arrays))])


def _reals(x: Any) -> jax.Array:
    """The numbers as float32[size]; of complex ones the absolute values."""
    x = jnp.abs(x) if jnp.iscomplexobj(x) else jnp.asarray(x)
    return x.astype(jnp.float32).ravel()


def _places(x: Any) -> jax.Array:
    """The number of each number's bin, int32[size]; that of a NaN is behind the last."""
    x = _reals(x)
    # The exponent is in the bits of a float32: no search, and no logarithm that rounds.
    magnitude = jax.lax.bitcast_convert_type(x, jnp.int32) & jnp.int32(0x7FFFFFFF)
    below = x < 0
    # On the negative side a power of two is the upper bound of its bin, which it is not in.
    exponent = ((magnitude - below.astype(jnp.int32)) >> 23) - 127
    sides = HIGHEST - LOWEST + 1
    place = jnp.clip(exponent - LOWEST + 1, 0, sides)
    place = jnp.where(below, sides - place, sides + place)
    return jnp.where(jnp.isnan(x), 2 * sides + 1, place)


def _scattered(place: jax.Array, bins: int) -> jax.Array:
    return jnp.zeros(bins, jnp.int32).at[place].add(1, mode="drop")


def _compared(place: jax.Array) -> jax.Array:
    """Without the atomic additions that all go to the few bins that are full."""
    each = jnp.arange(len(HISTOGRAM_EDGES) + 1, dtype=jnp.int32)
    return jnp.sum(place[None, :] == each[:, None], axis=1, dtype=jnp.int32)
