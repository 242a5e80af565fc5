"""Schedules of one phase, and `inverse_sqrt`, which never ends."""

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import Schedule
from gradtx.kinds import NonNegative, checked
from gradtx.schedules import curves
from gradtx.schedules.curves import like
from gradtx.schedules.positions import as_float, check_steps, phases


@checked
def constant(value: float) -> Schedule:
    """The same value at every step.

        f(t) = value

    Args:
        value: the value.
    """
    return lambda count: jnp.full(jnp.shape(count), value, jnp.result_type(float))


@checked
def linear(start: float, end: float, steps: float) -> Schedule:
    """A straight line from `start` to `end`, which it reaches at `steps` and then keeps.

        f(t) = start + (end - start) min(t / steps, 1)

    Args:
        start: value at the start.
        end: value at the end, and from then on.
        steps: number of updates, positive; it need not be whole.

    Raises:
        ValueError: if `steps` is not positive.
    """
    check_steps("linear", "steps", steps)
    return phases([curves.linear(start, end)], [0, steps])


@checked
def cosine(start: float, end: float, steps: float) -> Schedule:
    """Half a cosine wave from `start` to `end`, which it reaches at `steps` and then keeps.

        f(t) = end + (start - end) (1 + cos(pi min(t / steps, 1))) / 2

    Args:
        start: value at the start.
        end: value at the end, and from then on.
        steps: number of updates, positive; it need not be whole.

    Raises:
        ValueError: if `steps` is not positive.

    Source: Loshchilov and Hutter (2017), equation 5.
    """
    check_steps("cosine", "steps", steps)
    return phases([curves.cosine(start, end)], [0, steps])


@checked
def exponential(start: float, end: float, steps: float) -> Schedule:
    """Equal factors from `start` to `end`, which it reaches at `steps` and then keeps.

        f(t) = start (end / start)^min(t / steps, 1)

    >>> [round(float(exponential(1.0, 1e-4, 4)(t)), 6) for t in range(5)]
    [1.0, 0.1, 0.01, 0.001, 0.0001]

    Args:
        start: value at the start, positive.
        end: value at the end, and from then on; positive.
        steps: number of updates, positive; it need not be whole.

    Raises:
        ValueError: if `steps`, `start` or `end` is not positive.
    """
    check_steps("exponential", "steps", steps)
    return phases([curves.exponential(start, end)], [0, steps])


@checked
def half_life(start: float, end: float, steps: float) -> Schedule:
    """A decay whose half-life grows evenly from `start` to `end`, reached at `steps` and then kept.

        f(t) = 2^(-1 / n),   n = (1 - x) n(start) + x n(end),   x = min(t / steps, 1)
        n(f) = -1 / log2(f)        after how many steps an average of decay f has forgotten a half

    AdEMAMix warms the decay of its slow average up so.

    >>> [round(float(half_life(0.5, 2**-0.2, 4)(t)), 6) for t in (0, 2, 4)]  # 1, 3, 5 steps
    [0.5, 0.793701, 0.870551]

    Args:
        start: value at the start, in (0, 1).
        end: value at the end, and from then on; in (0, 1).
        steps: number of updates, positive; it need not be whole.

    Raises:
        ValueError: if `steps` is not positive, or `start` or `end` lies outside (0, 1).

    Source: Pagliardini et al. (2024), section 3 and appendix A.1, where t starts at 1.
    """
    check_steps("half_life", "steps", steps)
    return phases([curves.half_life(start, end)], [0, steps])


@checked
def polynomial(start: float, end: float, steps: float, *, power: NonNegative) -> Schedule:
    """A power of the progress, from `start` to `end`, which it reaches at `steps` and then keeps.

        f(t) = start + (end - start) min(t / steps, 1)^power

    Args:
        start: value at the start.
        end: value at the end, and from then on.
        steps: number of updates, positive; it need not be whole.
        power: exponent of the progress, at least 0; above 1 the value leaves `start` slowly.

    Raises:
        ValueError: if `steps` is not positive.
    """
    check_steps("polynomial", "steps", steps)
    return phases([curves.polynomial(start, end, power)], [0, steps])


@checked
def inverse_sqrt(peak: float, warmup: int) -> Schedule:
    """A linear rise over `warmup` updates, then decay as one over the root of the step.

        f(t) = peak min((t + 1) / warmup, sqrt(warmup / (t + 1)))

    Args:
        peak: the largest value, which update number `warmup - 1` has, counted from 0.
        warmup: number of updates of the rise, positive.

    Raises:
        ValueError: if `warmup` is not positive.

    Source: Vaswani et al. (2017), section 5.3, whose steps start at 1.
    """
    check_steps("inverse_sqrt", "warmup", warmup)

    def schedule(count: jax.Array) -> jax.Array:
        step = as_float(count) + 1
        return like(peak, step) * jnp.minimum(step / warmup, jnp.sqrt(warmup / step))

    return schedule
