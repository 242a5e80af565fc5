"""Positions: which phase of a schedule a step is in, and how far into it.

The step is compared with whole numbers and only ever subtracted from whole numbers, so no boundary
is missed by rounding, and positions keep all their digits up to step 2^31 - 1.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import Schedule
from gradtx.schedules.curves import Curve

LAST = 2**31 - 1


def phases(curves: Sequence[Curve], boundaries: Sequence[float]) -> Schedule:
    """Follow `curves[i]` from step `boundaries[i]` to step `boundaries[i + 1]`; then stay.

        f(t) = curves[i](x, 1 - x)        x = progress(t, boundaries[i], boundaries[i + 1])[0]

    `boundaries` start at 0, do not fall and may be fractions of a step. A phase of no length never
    counts.

    Args:
        curves: functions of the progress within a phase, one for each phase.
        boundaries: the counts at which phases begin and end, one more than curves; fractions of a
            step are allowed.
    """
    bounds = [snap(b) for b in boundaries]
    all_spans = zip(curves, bounds[:-1], bounds[1:], strict=True)
    spans = tuple((curve, begin, end) for curve, begin, end in all_spans if begin < end)

    def schedule(count: jax.Array) -> jax.Array:
        count = jnp.asarray(count)
        values = [curve(*progress(count, begin, end)) for curve, begin, end in spans]
        value = values[-1]
        for earlier, (_, _, end) in reversed(list(zip(values[:-1], spans[:-1], strict=True))):
            value = jnp.where(before(count, end), earlier, value)
        return value

    return schedule


def progress(count: jax.Array, begin: float, end: float) -> tuple[jax.Array, jax.Array]:
    """(x, 1 - x) for x = (count - begin) / (end - begin) held in [0, 1], each exact to rounding.

    Args:
        count: number of updates made, an int or an int32 array.
        begin: count at which the phase begins.
        end: count at which it ends.
    """
    share = lambda part: jnp.clip(part / float(end - begin), 0, 1)
    x = share(since(count, begin))
    # Farther than a counter gets there is no integer to subtract.
    return x, 1 - x if end > LAST else share(-since(count, end))


def since(count: jax.Array, begin: float) -> jax.Array:
    """`count - begin` as a float, exact to rounding.

    Args:
        count: number of updates made, an int or an int32 array.
        begin: what is subtracted; it need not be whole.
    """
    whole = math.floor(begin) if abs(begin) <= LAST else 0
    return as_float(count - whole) - float(begin - whole)


def before(count: jax.Array, boundary: float) -> jax.Array:
    """`count < boundary`, exactly: an integer is compared with an integer.

    Args:
        count: number of updates made, an int or an int32 array; a float within a schedule that
            begins at a fraction of a step.
        boundary: what it is compared with; it need not be whole.
    """
    count = jnp.asarray(count)
    if jnp.issubdtype(count.dtype, jnp.floating):
        return count < boundary
    return count < max(min(math.ceil(boundary), LAST), -LAST)


def counted_from(count: jax.Array, begin: float) -> jax.Array:
    """`count - begin`, or 0 before that: an integer where `begin` is one, else a float.

    Args:
        count: number of updates made, an int or an int32 array.
        begin: count at which a schedule begins; it need not be whole, and may be negative.
    """
    begin = max(min(begin, LAST), -LAST)
    if begin != math.floor(begin):
        return jnp.maximum(since(count, begin), 0)
    # At most the last step, where it began before the first.
    return jnp.maximum(jnp.minimum(count, LAST + min(begin, 0)) - begin, 0)


def as_float(x: jax.Array) -> jax.Array:
    """`x` in JAX's default float dtype: float32, or float64 where that is enabled."""
    return jnp.asarray(x).astype(jnp.result_type(float))


def snap(boundary: float) -> float:
    """A boundary that float64 puts a hair beside a whole number is meant to be that number."""
    boundary = float(boundary)
    whole = round(boundary)
    return whole if abs(boundary - whole) <= 1e-9 * max(1.0, abs(boundary)) else boundary


def check_steps(where: str, name: str, steps: float) -> None:
    """Require that a number of steps is positive and fits an int32 counter.

    Args:
        where: the function to name in the message.
        name: the argument to name in the message.
        steps: its value.

    Raises:
        ValueError: naming the argument.
    """
    if not 0 < steps <= LAST:
        raise ValueError(
            f"{where}: `{name}` must be positive and at most 2^31 - 1; got {steps}. Pass a number"
            " of updates."
        )


def check_fraction(where: str, name: str, value: float) -> None:
    """Require that `value` lies in [0, 1].

    Args:
        where: the function to name in the message.
        name: the argument to name in the message.
        value: its value.

    Raises:
        ValueError: naming the argument.
    """
    if not 0 <= value <= 1:
        raise ValueError(
            f"{where}: `{name}` must be a fraction of `steps`, in [0, 1]; got {value}. Pass for"
            " example 0.25."
        )
