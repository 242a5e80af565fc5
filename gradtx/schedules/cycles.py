"""The schedules of whole training runs, after fastai."""

from typing import NamedTuple

from gradtx.core.hyperparams import Schedule
from gradtx.kinds import checked
from gradtx.schedules import curves
from gradtx.schedules.composite import combine
from gradtx.schedules.positions import check_fraction, check_steps


class OneCycle(NamedTuple):
    """A learning rate and a momentum that move against each other: what `one_cycle` returns.

    Args:
        learning_rate: schedule of the learning rate.
        momentum: schedule of the momentum.
    """

    learning_rate: Schedule
    momentum: Schedule


@checked
def one_cycle(
    peak: float,
    steps: float,
    *,
    warmup: float = 0.25,
    start: float = 1 / 25,
    end: float = 1e-5,
    momentum: tuple[float, float, float] = (0.95, 0.85, 0.95),
) -> OneCycle:
    """Raise the learning rate while lowering momentum, then anneal both back.

        c(a, b, x) = b + (a - b) (1 + cos(pi x)) / 2       x = progress within the phase, in [0, 1]
        learning_rate:  c(start peak, peak, x)             then  c(peak, end peak, x)
        momentum:       c(momentum[0], momentum[1], x)     then  c(momentum[1], momentum[2], x)

    The phases meet at `warmup * steps`, which may lie between two updates, and so may the end:
    `steps` need not be whole. `start` and `end` are fractions of `peak`. Of `steps` updates,
    numbered from 0, the last uses the position (steps - 1) / steps: the end values are reached at
    `steps`, one update later, as in fastai; PyTorch reaches them on the last update.

    >>> cycle = one_cycle(0.1, 100)
    >>> [round(float(cycle.learning_rate(t)), 6) for t in (0, 25, 99)]
    [0.004, 0.1, 4.5e-05]

    Args:
        peak: the largest learning rate.
        steps: number of updates, positive; it need not be whole.
        warmup: fraction of `steps` that the rise takes, in [0, 1].
        start: learning rate at the start, as a fraction of `peak`.
        end: learning rate at the end, as a fraction of `peak`.
        momentum: momentum at the start, at the peak and at the end.

    Raises:
        ValueError: if `steps` is not positive or `warmup` not in [0, 1].

    Source: Smith and Topin (2018), section 3; the cosine form is fastai's.
    """
    check_steps("one_cycle", "steps", steps)
    check_fraction("one_cycle", "warmup", warmup)

    def cycle(first: float, middle: float, last: float) -> Schedule:
        shapes = [curves.cosine(first, middle), curves.cosine(middle, last)]
        return combine([warmup, 1 - warmup], shapes, steps)

    return OneCycle(cycle(start * peak, peak, end * peak), cycle(*momentum))


@checked
def flat_cos(peak: float, steps: int, *, flat: float = 0.75, end: float = 1e-5) -> Schedule:
    """Hold `peak` for the fraction `flat` of the steps, then anneal to `end * peak`.

        f = peak    then    c(peak, end peak, x)        c as in `one_cycle`

    Args:
        peak: the value that is held.
        steps: number of updates, positive.
        flat: fraction of `steps` for which it is held, in [0, 1].
        end: value at the end, as a fraction of `peak`.

    Raises:
        ValueError: if `steps` is not positive or `flat` not in [0, 1].

    Source: fastai's `fit_flat_cos`.
    """
    check_steps("flat_cos", "steps", steps)
    check_fraction("flat_cos", "flat", flat)
    shapes = [curves.constant(peak), curves.cosine(peak, end * peak)]
    return combine([flat, 1 - flat], shapes, steps)
