"""Curves: how a value gets from its start to its end within one phase of a schedule.

A curve is a function of the progress `x` in [0, 1] and of what is left of it, `rest` = 1 - x. It is
given both because each is exact to rounding: a value that falls to a hundred-thousandth of its
start is computed from `rest`, in which its digits are, and not from 1 - x, in which they are lost.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import NonNegative, checked

Curve = Callable[[jax.Array, jax.Array], jax.Array]


@checked
def constant(value: float) -> Curve:
    """The same value throughout.

        f = value

    Args:
        value: the value.
    """
    return lambda x, rest: jnp.full_like(x, value)


@checked
def linear(start: float, end: float) -> Curve:
    """A straight line.

        f = start + (end - start) x

    Args:
        start: value at x = 0.
        end: value at x = 1.
    """
    return lambda x, rest: like(start, x) * rest + like(end, x) * x


@checked
def cosine(start: float, end: float) -> Curve:
    """Half a cosine wave: flat at both ends.

        f = end + (start - end) (1 + cos(pi x)) / 2

    Args:
        start: value at x = 0.
        end: value at x = 1.
    """

    def curve(x: jax.Array, rest: jax.Array) -> jax.Array:
        # (1 + cos(pi x)) / 2 = sin(pi rest / 2)^2, which keeps its digits near its zero.
        falling = jnp.square(jnp.sin(jnp.pi / 2 * rest))
        rising = jnp.square(jnp.sin(jnp.pi / 2 * x))
        return like(start, x) * falling + like(end, x) * rising

    return curve


@checked
def exponential(start: float, end: float) -> Curve:
    """A straight line on a logarithmic scale.

        f = start (end / start)^x

    Args:
        start: value at x = 0, positive.
        end: value at x = 1, positive.

    Raises:
        ValueError: if the two are not both positive.
    """
    if not (start > 0 and end > 0):
        raise ValueError(
            "exponential: `start` and `end` must be positive, for no power reaches zero; got"
            f" {start} and {end}. Use linear or cosine to end at zero."
        )
    start, end = float(start), float(end)
    log_ratio = math.log(end / start)

    def curve(x: jax.Array, rest: jax.Array) -> jax.Array:
        from_start = start * jnp.exp(log_ratio * x)
        from_end = end * jnp.exp(-log_ratio * rest)
        return jnp.where(x < rest, from_start, from_end)

    return curve


@checked
def half_life(start: float, end: float) -> Curve:
    """A straight line of the half-life: for the decay of an average that slows down.

        f = 2^(-1 / n),   n = (1 - x) n(start) + x n(end)        n(f) = -1 / log2(f)

    Args:
        start: value at x = 0, in (0, 1).
        end: value at x = 1, in (0, 1).

    Raises:
        ValueError: if the two are not both in (0, 1).
    """
    if not (0 < start < 1 and 0 < end < 1):
        raise ValueError(
            "half_life: `start` and `end` must be in (0, 1), as decays with a half-life are; got"
            f" {start} and {end}. Use linear to start at zero."
        )
    before, after = math.log(start), math.log(end)
    return lambda x, rest: jnp.exp(before * after / (rest * after + x * before))


@checked
def polynomial(start: float, end: float, power: NonNegative) -> Curve:
    """A power of the progress: with `power` above 1 it leaves `start` slowly.

        f = start + (end - start) x^power

    Optax's `polynomial_schedule` is the mirror image, end + (start - end) (1 - x)^power.

    Args:
        start: value at x = 0.
        end: value at x = 1.
        power: exponent of the progress, at least 0.
    """
    return lambda x, rest: like(start, x) + like(end - start, x) * jnp.power(x, like(power, x))


def like(value: Any, x: jax.Array) -> Any:
    """`value`, in the dtype of `x` if it has a dtype of its own.

        value  if it is a Python number, else  asarray(value, dtype of x)

    Args:
        value: a Python number or an array.
        x: the array whose dtype counts.
    """
    # An integer as a float: JAX takes no Python integer above 2^31.
    return float(value) if type(value) in (int, float) else jnp.asarray(value, x.dtype)
