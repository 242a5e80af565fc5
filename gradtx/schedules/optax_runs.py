"""Optax's schedules of several phases, under Optax's names; see `optax_names` for the rest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradtx.hyper import Schedule
from gradtx.schedules import curves
from gradtx.schedules.joining import join
from gradtx.schedules.optax_names import (
    cosine_decay_schedule,
    exponential_decay,
    linear_schedule,
    piecewise_interpolate_schedule,
)
from gradtx.schedules.phases import check_steps, phases

__all__ = [
    "cosine_onecycle_schedule",
    "join_schedules",
    "linear_onecycle_schedule",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to the peak, back down, and then to almost nothing, in straight lines.

        f(0) = f(pct_final T) = low,   f(pct_start T) = peak_value,   f(T) = low / final_div_factor
        low = peak_value / div_factor        T = transition_steps

    Boundaries are rounded down to whole updates, as in Optax, but the rise takes at least one:
    Optax drops it, peak and all, where `pct_start * transition_steps` is below 1.

    Raises:
        ValueError: if `transition_steps` is not positive.
    Source: Smith and Topin (2018), section 3.
    """
    check_steps("linear_onecycle_schedule", "transition_steps", transition_steps)
    top = max(int(pct_start * transition_steps), 1)
    low = max(int(pct_final * transition_steps), top)
    scales = {top: div_factor, transition_steps: 1 / final_div_factor}
    scales[low] = scales.get(low, 1.0) / div_factor
    return piecewise_interpolate_schedule("linear", peak_value / div_factor, scales)


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to the peak and down to almost nothing, by cosines.

        f(0) = low,   f(pct_start T) = peak_value,   f(T) = low / final_div_factor
        low = peak_value / div_factor        T = transition_steps

    The last of T updates, number T - 1, comes one before the end value, as in Optax; PyTorch
    reaches it on the last update. The turn is rounded down to a whole update, as in Optax, but the
    rise takes at least one. `schedules.one_cycle` has fastai's values, and momentum with them.

    Raises:
        ValueError: if `transition_steps` is not positive.
    Source: Smith and Topin (2018), section 3.
    """
    check_steps("cosine_onecycle_schedule", "transition_steps", transition_steps)
    top = max(int(pct_start * transition_steps), 1)
    low = peak_value / div_factor
    if top >= transition_steps:
        return phases([curves.cosine(low, peak_value)], [0, transition_steps])
    down = curves.cosine(peak_value, low / final_div_factor)
    return phases([curves.cosine(low, peak_value), down], [0, top, transition_steps])


def warmup_constant_schedule(init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    """A straight line from `init_value` to `peak_value`, which it reaches at `warmup_steps`.

        f(t) = init_value + (peak_value - init_value) min(t / warmup_steps, 1)

    Raises:
        ValueError: if `warmup_steps` is negative.
    """
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Schedule:
    """A straight line up to `peak_value`, then a cosine down to `end_value`.

    f(warmup_steps) = peak_value    f(decay_steps) = end_value    decay_steps counts the warm-up too

    Raises:
        ValueError: unless 0 <= warmup_steps < decay_steps.
    """
    alpha = 0.0 if peak_value == 0.0 else end_value / peak_value
    check_steps(
        "warmup_cosine_decay_schedule", "decay_steps - warmup_steps", decay_steps - warmup_steps
    )
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    fall = cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent)
    return join([rise, fall], [warmup_steps])


def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """A straight line up to `peak_value`, then `exponential_decay` from there.

        f(t) = exponential_decay(peak_value, ...)(t - warmup_steps)    from warmup_steps on

    Raises:
        ValueError: if a number of steps is negative.
    """
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    fall = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return join([rise, fall], [warmup_steps])


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Warm restarts: one `warmup_cosine_decay_schedule` after another.

        f(t) = warmup_cosine_decay_schedule(**cosine_kwargs[i])(t - begin of cycle i)

    Source: Loshchilov and Hutter (2017), section 3.
    """
    cycles = [dict(kwargs) for kwargs in cosine_kwargs]
    ends = [sum(c["decay_steps"] for c in cycles[: i + 1]) for i in range(len(cycles) - 1)]
    return join([warmup_cosine_decay_schedule(**c) for c in cycles], ends)


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Follow each schedule up to its boundary: `schedules.join` under Optax's name.

    f(t) = schedules[i](t - boundaries[i - 1])   for boundaries[i - 1] <= t < boundaries[i]
    """
    return join(schedules, boundaries)
