"""Optax's schedules under Optax's names, with its parameters, defaults and values.

They differ in two things. The value is a strongly typed float of JAX's default dtype, whatever
the dtype of the count. A boundary and a position are compared as integers, so nothing is lost in
float32. As in Optax, 0 and fewer steps make a constant.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import Schedule
from gradtx.kinds import NonNegative, alias, checked
from gradtx.schedules import curves
from gradtx.schedules.composite import check_count, joined
from gradtx.schedules.curves import Curve, like
from gradtx.schedules.positions import as_float, check_steps, phases
from gradtx.schedules.simple import constant

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]

constant_schedule = alias("constant_schedule", constant)


@checked
def polynomial_schedule(
    init_value: float,
    end_value: float,
    power: NonNegative,
    transition_steps: float,
    transition_begin: float = 0,
) -> Schedule:
    """A power of what is left of the transition.

        f(t) = end_value + (init_value - end_value) (1 - x)^power
        x = min((t - transition_begin) / transition_steps, 1)

    It is `init_value` before `transition_begin`, and throughout if `transition_steps` is 0.

    Args:
        init_value: value at the start.
        end_value: value at the end.
        power: exponent of what is left of the transition.
        transition_steps: number of updates from start to end, 0 and less make a constant.
        transition_begin: number of updates before the transition begins; less than 0 is 0.
    """
    curve = lambda x, rest: (
        like(init_value - end_value, x) * jnp.power(rest, like(power, x)) + like(end_value, x)
    )
    return _transition(init_value, curve, transition_steps, transition_begin)


@checked
def linear_schedule(
    init_value: float, end_value: float, transition_steps: float, transition_begin: float = 0
) -> Schedule:
    """A straight line: `polynomial_schedule` with power 1.

        f(t) = init_value + (end_value - init_value) x
        x = min((t - transition_begin) / transition_steps, 1)

    Args:
        init_value: value at the start.
        end_value: value at the end.
        transition_steps: number of updates from start to end, 0 and less make a constant.
        transition_begin: number of updates before the transition begins; less than 0 is 0.
    """
    curve = curves.linear(init_value, end_value)
    return _transition(init_value, curve, transition_steps, transition_begin)


@checked
def cosine_decay_schedule(
    init_value: float, decay_steps: float, alpha: float = 0.0, exponent: NonNegative = 1.0
) -> Schedule:
    """A cosine from `init_value` to `alpha * init_value`.

        f(t) = init_value ((1 - alpha) ((1 + cos(pi min(t / decay_steps, 1))) / 2)^exponent + alpha)

    Args:
        init_value: value at the start.
        decay_steps: number of updates from start to end, positive.
        alpha: value at the end, as a fraction of `init_value`.
        exponent: power of the cosine wave.

    Raises:
        ValueError: if `decay_steps` is not positive.

    Source: Loshchilov and Hutter (2017), equation 5.
    """
    if not decay_steps > 0:
        raise ValueError(
            f"cosine_decay_schedule: `decay_steps` must be positive; got {decay_steps}. Pass a"
            " number of updates."
        )
    wave = curves.cosine(1.0, 0.0)

    def curve(x: jax.Array, rest: jax.Array) -> jax.Array:
        decayed = (1 - like(alpha, x)) * jnp.power(wave(x, rest), like(exponent, x)) + like(
            alpha, x
        )
        return like(init_value, x) * decayed

    return phases([curve], [0, decay_steps])


@checked
def exponential_decay(
    init_value: float,
    transition_steps: float,
    decay_rate: float,
    transition_begin: float = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """A constant factor for each `transition_steps` updates.

        f(t) = init_value decay_rate^((t - transition_begin) / transition_steps)

    With `staircase` the exponent is rounded down. `end_value` bounds the value: from below if
    `decay_rate` is below 1, else from above. A `decay_rate` or `transition_steps` of 0 means a
    constant.

    Args:
        init_value: value at the start.
        transition_steps: number of updates for one factor `decay_rate`, 0 and less make a
            constant.
        decay_rate: factor for each `transition_steps` updates.
        transition_begin: number of updates before the transition begins; less than 0 is 0.
        staircase: whether the exponent is rounded down, so that the value falls in steps.
        end_value: bound of the value; `None` means no bound.

    Raises:
        ValueError: for a negative `decay_rate` that has fractional powers.
    """
    transition_begin = max(transition_begin, 0)
    if transition_steps <= 0 or decay_rate == 0:
        return constant_schedule(init_value)
    if decay_rate < 0 and not (staircase or transition_steps == 1):
        raise ValueError(
            f"exponential_decay: `decay_rate` must not be negative, but in steps; got {decay_rate},"
            " whose fractional powers are no real numbers. Pass its size, or `staircase=True`."
        )

    def schedule(count: jax.Array) -> jax.Array:
        count = jnp.asarray(count)
        done = jnp.maximum(count - transition_begin, 0)
        p = as_float(done // transition_steps if staircase else done)
        p = p if staircase else p / transition_steps
        value = like(init_value, p) * jnp.power(jnp.asarray(decay_rate, p.dtype), p)
        if end_value is None:
            return value
        bound = jnp.maximum if decay_rate < 1 else jnp.minimum
        return bound(value, like(end_value, p))

    return schedule


@checked
def piecewise_constant_schedule(
    init_value: float, boundaries_and_scales: Mapping[float, float] | None = None
) -> Schedule:
    """A constant that is multiplied by a scale at each boundary.

        f(t) = init_value times the product of the scales whose boundary is at most t

    Args:
        init_value: value at the start.
        boundaries_and_scales: the count of each boundary, and the factor that applies from there
            on.

    Raises:
        ValueError: if a scale is negative.
    """
    steps, scales = _sorted("piecewise_constant_schedule", boundaries_and_scales)
    values = [init_value]
    for scale in scales:
        values.append(values[-1] * scale)
    return joined("piecewise_constant_schedule", [constant_schedule(v) for v in values], steps)


@checked
def piecewise_interpolate_schedule(
    interpolate_type: Literal["linear", "cosine"],
    init_value: float,
    boundaries_and_scales: Mapping[float, float] | None = None,
) -> Schedule:
    """Curves between the values that `piecewise_constant_schedule` has at its boundaries.

        f(boundaries[i]) = init_value scales[0] ... scales[i]

    Between two boundaries the value follows a curve of that type.

    Args:
        interpolate_type: "linear" or "cosine".
        init_value: value at the start.
        boundaries_and_scales: the count of each boundary, and the factor that applies from there
            on.

    Raises:
        ValueError: for another type or a negative scale.
    """
    make = getattr(curves, interpolate_type)
    steps, scales = _sorted("piecewise_interpolate_schedule", boundaries_and_scales)
    shapes, bounds, value = [], [0], init_value
    for step, scale in zip(steps, scales, strict=True):
        if step > bounds[-1]:
            shapes.append(make(value, value * scale))
            bounds.append(step)
        value = value * scale
    return phases(shapes, bounds) if shapes else constant_schedule(value)


@checked
def warmup_constant_schedule(init_value: float, peak_value: float, warmup_steps: float) -> Schedule:
    """A straight line from `init_value` to `peak_value`, which it reaches at `warmup_steps`.

        f(t) = init_value + (peak_value - init_value) min(t / warmup_steps, 1)

    Args:
        init_value: value at the start.
        peak_value: value at the end, and from then on.
        warmup_steps: number of updates until the peak, 0 and less make a constant of
            `init_value`.
    """
    return linear_schedule(init_value, peak_value, warmup_steps)


@checked
def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    decay_steps: float,
    end_value: float = 0.0,
    exponent: NonNegative = 1.0,
) -> Schedule:
    """A straight line up to `peak_value`, then a cosine down to `end_value`.

        f(0) = init_value        f(warmup_steps) = peak_value        f(decay_steps) = end_value

    Args:
        init_value: value at the start.
        peak_value: the largest value.
        warmup_steps: number of updates until the peak; less than 0 begins after it.
        decay_steps: number of updates until the end, those of the warm-up among them.
        end_value: value at the end, and from then on.
        exponent: power of the cosine wave.

    Raises:
        ValueError: unless warmup_steps < decay_steps.
    """
    alpha = 0.0 if peak_value == 0.0 else end_value / peak_value
    check_steps(
        "warmup_cosine_decay_schedule", "decay_steps - warmup_steps", decay_steps - warmup_steps
    )
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    fall = cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent)
    return joined("warmup_cosine_decay_schedule", [rise, fall], [warmup_steps])


@checked
def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    transition_steps: float,
    decay_rate: float,
    transition_begin: float = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """A straight line up to `peak_value`, then `exponential_decay` from there.

        f(t) = exponential_decay(peak_value, ...)(t - warmup_steps)    from warmup_steps on

    Args:
        init_value: value at the start.
        peak_value: the largest value.
        warmup_steps: number of updates until the peak; less than 0 begins after it.
        transition_steps: number of updates for one factor `decay_rate`, 0 and less make a
            constant.
        decay_rate: factor for each `transition_steps` updates.
        transition_begin: number of updates after the warm-up before the decay begins; less than 0
            is 0.
        staircase: whether the exponent is rounded down, so that the value falls in steps.
        end_value: bound of the value in the decay; `None` means no bound.

    Raises:
        ValueError: for what `exponential_decay` refuses.
    """
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    fall = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return joined("warmup_exponential_decay_schedule", [rise, fall], [warmup_steps])


@checked
def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Warm restarts: one `warmup_cosine_decay_schedule` after another.

        f(t) = warmup_cosine_decay_schedule(**cosine_kwargs[i])(t - begin of cycle i)

    Args:
        cosine_kwargs: for each cycle the keyword arguments of `warmup_cosine_decay_schedule`.

    Raises:
        ValueError: for a cycle that `warmup_cosine_decay_schedule` refuses.

    Source: Loshchilov and Hutter (2017), section 3.
    """
    cycles = [dict(c) if isinstance(c, Mapping) else {} for c in cosine_kwargs]
    needs = ("init_value", "peak_value", "warmup_steps", "decay_steps")
    for i, cycle in enumerate(cycles):
        if not {*needs} <= set(cycle) <= {*needs, "end_value", "exponent"}:
            raise TypeError(
                f"sgdr_schedule: `cosine_kwargs[{i}]` must hold {', '.join(needs)}, and may"
                f" end_value and exponent; got {', '.join(map(str, cycle)) or 'nothing'}."
                " Name the parameters of warmup_cosine_decay_schedule."
            )
    ends = [sum(c["decay_steps"] for c in cycles[: i + 1]) for i in range(len(cycles) - 1)]
    parts = [warmup_cosine_decay_schedule(**cycle) for cycle in cycles]
    check_count("sgdr_schedule", "cycles of `cosine_kwargs`", len(parts), ends)
    return joined("sgdr_schedule", parts, ends)


@checked
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[float]) -> Schedule:
    """Follow each schedule up to its boundary: `schedules.join`, of any boundaries, as in Optax.

        f(t) = schedules[i](t - boundaries[i - 1])   for boundaries[i - 1] <= t < boundaries[i]

    Args:
        schedules: schedules, or numbers, which stand for constants.
        boundaries: the counts at which the next one begins; fractions of a step are allowed. The
            last one that a count has reached decides.

    Raises:
        ValueError: if there is not one boundary fewer than schedules; in use, if a schedule returns
            an array of another shape than its count.
        TypeError: in use, if a schedule returns no number.
    """
    check_count("join_schedules", "schedules", len(schedules), boundaries)
    return joined("join_schedules", schedules, boundaries)


def _transition(init_value: Any, curve: Curve, steps: float, begin: float) -> Schedule:
    if steps <= 0:
        return constant_schedule(init_value)
    if begin <= 0:
        return phases([curve], [0, steps])
    return phases([curves.constant(init_value), curve], [0, begin, begin + steps])


def _sorted(where: str, boundaries_and_scales: Mapping[float, float] | None) -> tuple[list, list]:
    pairs = sorted((boundaries_and_scales or {}).items())
    for boundary, scale in pairs:
        if scale < 0:
            raise ValueError(
                f"{where}: scales must not be negative; got {scale} at {boundary}. Choose one of at"
                " least 0."
            )
    return [b for b, _ in pairs], [s for _, s in pairs]
