"""Schedules made from others."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import Schedule, returned
from gradtx.kinds import Count, Positive, checked
from gradtx.schedules.curves import Curve, cosine, like
from gradtx.schedules.positions import as_float, before, check_steps, counted_from, phases, snap
from gradtx.schedules.simple import constant


@checked
def combine(fractions: Sequence[float], curves: Sequence[Curve], steps: float) -> Schedule:
    """Follow each curve for its fraction of `steps`; then stay at the end of the last.

        f(t) = curves[i](x)        x = progress within phase i, in [0, 1]

    At a boundary the later phase counts; a phase of no length never does. Boundaries are kept in
    float64 and compared as integers.

    >>> from gradtx.schedules import curves
    >>> up_and_down = combine([0.25, 0.75], [curves.linear(0, 1), curves.cosine(1, 0)], 8)
    >>> [round(float(up_and_down(t)), 3) for t in (0, 1, 2, 5, 8)]
    [0.0, 0.5, 1.0, 0.5, 0.0]

    Args:
        fractions: each curve's share of `steps`, in [0, 1]; they sum to 1.
        curves: as many functions of the progress, such as those of `gradtx.schedules.curves`.
        steps: number of updates, positive; it need not be whole.

    Raises:
        ValueError: if a fraction is negative or they do not sum to 1, if there are not as many of
            them as curves, or if `steps` is not positive; in use, if a curve returns an array of
            another shape than its progress.
        TypeError: in use, if a curve returns no number.
    """
    check_steps("combine", "steps", steps)
    if len(fractions) != len(curves) or not curves:
        raise ValueError(
            "combine: `fractions` and `curves` must have the same, positive length; got"
            f" {len(fractions)} and {len(curves)}. Give each curve its fraction."
        )
    if not all(f >= 0 for f in fractions) or not math.isclose(math.fsum(fractions), 1):
        raise ValueError(
            f"combine: `fractions` must not be negative, and sum to 1; got {list(fractions)}, sum"
            f" {math.fsum(fractions):g}. Divide them by their sum."
        )
    begins = [steps * math.fsum(fractions[:i]) for i in range(len(fractions))]
    parts = [_numbers(f"combine: `curves[{i}]`", curve) for i, curve in enumerate(curves)]
    return phases(parts, [*begins, steps])


@checked
def join(schedules: Sequence[Schedule | float], boundaries: Sequence[float]) -> Schedule:
    """Follow each schedule up to its boundary; each one counts from where it begins.

        f(t) = schedules[i](t - boundaries[i - 1])   for boundaries[i - 1] <= t < boundaries[i]

    A number stands for a constant.

    >>> from gradtx.schedules import linear
    >>> there_and_back = join([linear(0, 1, 2), linear(1, 0, 2)], [2])
    >>> [float(there_and_back(t)) for t in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]

    Args:
        schedules: schedules, or numbers, which stand for constants.
        boundaries: the counts at which the next one begins, not negative and increasing; fractions
            of a step are allowed.

    Raises:
        ValueError: if there is not one boundary fewer than schedules, or they do not increase; in
            use, if a schedule returns an array of another shape than its count.
        TypeError: in use, if a schedule returns no number.
    """
    _check_boundaries("join", "schedules", len(schedules), boundaries)
    return joined("join", schedules, boundaries)


@checked
def piecewise(values: Sequence[float], boundaries: Sequence[float]) -> Schedule:
    """Constant between boundaries.

        f(t) = values[i]   for boundaries[i - 1] <= t < boundaries[i]

    >>> steps = piecewise([0.1, 0.01], [3])
    >>> [round(float(steps(t)), 6) for t in (2, 3)]
    [0.1, 0.01]

    Args:
        values: the constants, one more than boundaries.
        boundaries: the counts at which the next one begins, not negative and increasing; fractions
            of a step are allowed.

    Raises:
        ValueError: if there is not one boundary fewer than values, or they do not increase.
    """
    _check_boundaries("piecewise", "values", len(values), boundaries)
    return joined("piecewise", [constant(v) for v in values], boundaries)


@checked
def warmup(schedule: Schedule | float, steps: float, *, start: float = 0.0) -> Schedule:
    """A straight line from `start` to the first value of `schedule`, which then begins.

        f(t) = start + (schedule(0) - start) t / steps    for t < steps,   else  schedule(t - steps)

    Args:
        schedule: what follows, counted from its own start; a number stands for a constant.
        steps: number of updates of the rise, positive; it need not be whole.
        start: value at count 0.

    Raises:
        ValueError: if `steps` is not positive; in use, if `schedule` returns an array of another
            shape than its count.
        TypeError: in use, if `schedule` returns no number.
    """
    check_steps("warmup", "steps", steps)
    after = _numbers("warmup: `schedule`", schedule)

    def rise(count: jax.Array) -> jax.Array:
        x = as_float(count) / steps
        first = after(jnp.zeros_like(count))
        return like(start, x) + (first - like(start, x)) * x

    return joined("warmup", [rise, after], [steps])


@checked
def sgdr(
    peak: float, steps: float, *, cycles: Count, multiplier: Positive = 2.0, end: float = 0.0
) -> Schedule:
    """Warm restarts: a cosine from `peak` to `end`, again and again, each cycle longer.

        f = end + (peak - end) (1 + cos(pi x)) / 2        x = progress within the cycle, in [0, 1)

    Cycle i, from 0, takes `steps * multiplier^i` updates. After the last one the value is `end`.

    Args:
        peak: value at the start of each cycle.
        steps: number of updates of the first cycle, positive; it need not be whole.
        cycles: number of cycles, at least 1.
        multiplier: length of each cycle over that of the one before it, positive.
        end: value that each cycle falls to.

    Raises:
        ValueError: if `steps`, `cycles` or `multiplier` is not positive.

    Source: Loshchilov and Hutter (2017), section 3.
    """
    check_steps("sgdr", "steps", steps)
    ends = [0.0]
    for i in range(int(cycles)):
        ends.append(ends[-1] + steps * multiplier**i)
        check_steps("sgdr", "steps of all cycles", ends[-1])
    return phases([cosine(peak, end)] * int(cycles), ends)


def joined(
    where: str, schedules: Sequence[Schedule | float], boundaries: Sequence[float]
) -> Schedule:
    """`join`, also with boundaries that are negative or fall, as Optax computes it.

        f(t) = schedules[i](t - boundaries[i - 1])     of the last boundary in the list that t has
                                                       reached; before all schedules[0](t)

    Args:
        where: the function to name in messages.
        schedules: schedules, or numbers, which stand for constants.
        boundaries: the counts at which the next one begins.
    """
    parts = [_numbers(f"{where}: `schedules[{i}]`", s) for i, s in enumerate(schedules)]
    bounds = [snap(boundary) for boundary in boundaries]

    def schedule(count: jax.Array) -> jax.Array:
        count = jnp.asarray(count)
        value = parts[0](count)
        for begin, part in zip(bounds, parts[1:], strict=True):
            # The counts before a part begins are not used; kept at 0, they do no harm there.
            value = jnp.where(before(count, begin), value, part(counted_from(count, begin)))
        return value

    return schedule


def _numbers(where: str, function: Callable[..., Any] | float) -> Callable[..., jax.Array]:
    """A schedule or a curve, or a constant, that returns one number for each step, or says so."""
    if not callable(function):
        return constant(function)
    return lambda *at: returned(where, function(*at), jnp.shape(at[0]))


def check_count(where: str, name: str, parts: int, boundaries: Sequence[float]) -> None:
    """Require one boundary between each two parts.

    Args:
        where: the function to name in the message.
        name: what the parts are.
        parts: their number.
        boundaries: between them.

    Raises:
        ValueError: if there are more or fewer.
    """
    if parts != len(boundaries) + 1:
        raise ValueError(
            f"{where}: there must be one boundary between each two {name}; got {parts} {name} and"
            f" {len(boundaries)} boundaries. Pass one boundary fewer than there are {name}."
        )


def _check_boundaries(where: str, name: str, parts: int, boundaries: Sequence[float]) -> None:
    check_count(where, name, parts, boundaries)
    if any(b < 0 for b in boundaries) or any(a > b for a, b in pairwise(boundaries)):
        raise ValueError(
            f"{where}: `boundaries` must not be negative and must increase; got"
            f" {list(boundaries)}. Sort them."
        )
