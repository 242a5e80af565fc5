"""Optax's one-cycles under Optax's names, with its parameters, defaults and values.

Boundaries that coincide leave a phase of no length, which never counts.
"""

from gradtx.core.hyperparams import Schedule
from gradtx.kinds import Fraction, NonZero, checked, kind_of
from gradtx.schedules import curves
from gradtx.schedules.positions import check_steps, phases

__all__ = ["cosine_onecycle_schedule", "linear_onecycle_schedule"]


@checked
def linear_onecycle_schedule(
    transition_steps: float,
    peak_value: float,
    pct_start: Fraction = 0.3,
    pct_final: Fraction = 0.85,
    div_factor: NonZero = 25.0,
    final_div_factor: NonZero = 1e4,
) -> Schedule:
    """Up to the peak, back down, and then to almost nothing, in straight lines.

        f(0) = f(pct_final T) = low,   f(pct_start T) = peak_value,   f(T) = low / final_div_factor
        low = peak_value / div_factor        T = transition_steps

    Boundaries are rounded down to whole updates, as in Optax, and a phase of no length never
    counts: of one to three updates the first has the peak. Where the second boundary is not between
    the first and T, the value falls from the peak to the end at once; Optax, which keeps one scale
    for each boundary, then misses the peak or the end.

    Args:
        transition_steps: number of updates in all, positive.
        peak_value: the largest value.
        pct_start: fraction of `transition_steps` at which the peak is reached.
        pct_final: fraction of `transition_steps` at which the value is back where it started.
        div_factor: the peak over the value at the start.
        final_div_factor: the value at the start over that at the end.

    Raises:
        ValueError: if `transition_steps` is not positive.

    Source: Smith and Topin (2018), section 3.
    """
    check_steps("linear_onecycle_schedule", "transition_steps", transition_steps)
    low, end = _ends("linear_onecycle_schedule", peak_value, div_factor, final_div_factor)
    line = curves.linear
    top, back = int(pct_start * transition_steps), int(pct_final * transition_steps)
    rise = line(low, peak_value)
    if not top < back < transition_steps:
        return phases([rise, line(peak_value, end)], [0, top, transition_steps])
    parts = [rise, line(peak_value, low), line(low, end)]
    return phases(parts, [0, top, back, transition_steps])


@checked
def cosine_onecycle_schedule(
    transition_steps: float,
    peak_value: float,
    pct_start: Fraction = 0.3,
    div_factor: NonZero = 25.0,
    final_div_factor: NonZero = 1e4,
) -> Schedule:
    """Up to the peak and down to almost nothing, by cosines.

        f(0) = low,   f(pct_start T) = peak_value,   f(T) = low / final_div_factor
        low = peak_value / div_factor        T = transition_steps

    The last of T updates, number T - 1, comes one before the end value, as in Optax; PyTorch
    reaches it on the last update. The turn is rounded down to a whole update, as in Optax: of one
    to three updates the first has the peak. `schedules.one_cycle` has fastai's values, and momentum
    with them.

    Args:
        transition_steps: number of updates in all, positive.
        peak_value: the largest value.
        pct_start: fraction of `transition_steps` at which the peak is reached.
        div_factor: the peak over the value at the start.
        final_div_factor: the value at the start over that at the end.

    Raises:
        ValueError: if `transition_steps` is not positive.

    Source: Smith and Topin (2018), section 3.
    """
    check_steps("cosine_onecycle_schedule", "transition_steps", transition_steps)
    low, end = _ends("cosine_onecycle_schedule", peak_value, div_factor, final_div_factor)
    parts = [curves.cosine(low, peak_value), curves.cosine(peak_value, end)]
    return phases(parts, [0, int(pct_start * transition_steps), transition_steps])


def _ends(where: str, peak: float, div: float, final_div: float) -> tuple[float, float]:
    """The values at the start and at the end, which a tiny factor lets overflow."""
    finite, low = kind_of(float), peak / div
    end = low / final_div
    for name, given, value in (("div_factor", div, low), ("final_div_factor", final_div, end)):
        if finite and not finite.admits(value):
            raise ValueError(
                f"{where}: `{name}` must leave a finite value; got {given}, which makes it {value}."
                " Choose a larger one."
            )
    return low, end
