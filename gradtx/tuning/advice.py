"""What a sweep over learning rates says in words: one rate, why, and what to doubt."""

import numpy as np

ORDER = ("valley", "steep", "minimum", "slide")  # which suggestion is recommended, if it is there


def recommended(suggestions: dict[str, float | None]) -> str | None:
    """The name of the suggestion to take: fastai's default, valley, where it is known.

    >>> recommended({"minimum": 0.03, "valley": 0.01}), recommended({"valley": None})
    ('valley', None)

    Args:
        suggestions: a rate, or None, by the name of its rule.
    """
    return next((name for name in ORDER if suggestions.get(name) is not None), None)


def usable(losses: np.ndarray, steps: int) -> range:
    """Which points of a sweep of `steps` steps the rules look at.

        steps // 10 <= i < n - 5, up to the first NaN       n = points in the sweep

    The first tenth says nothing yet and the last points belong to the explosion. A sweep that ends
    with NaN counts as `steps` points, all NaN from there on.

    Args:
        losses: float[n], the smooth losses.
        steps: how many the sweep was to have.
    """
    bad = np.flatnonzero(np.isnan(losses))
    points = steps if bad.size else len(losses)
    end = min(points - 5, bad[0]) if bad.size else points - 5
    return range(steps // 10, end)


def falls(losses: np.ndarray) -> np.ndarray:
    """How many points the longest strictly falling subsequence has that ends at each point: int[n].

    Args:
        losses: float[n].
    """
    length = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        length[i] += max(length[:i][losses[:i] > losses[i]], default=0)
    return length


def valley_of(losses: np.ndarray) -> tuple[int, int, int]:
    """Where the longest valley begins, where the rate to take stands in it, and where it ends.

        place = start + floor(s) + floor(s / 2)       s = (end - start) / 3

    The valley ends at the point `end` where the longest strictly decreasing subsequence of the
    losses ends (the first such point), and `start` is `end` less its length, at least 0.

    Args:
        losses: float[n], at least one.
    """
    length = falls(losses)
    end = int(length.argmax())
    # A curve that never falls has no valley; its first point stands for it.
    start = end - int(length[end]) if end else 0
    third = (end - start) / 3
    return max(start, 0), max(start + int(third) + int(third / 2), 0), end


def reason(rates: np.ndarray, losses: np.ndarray) -> str:
    """Why the rate of the valley is a good one, in words.

    Args:
        rates: float[n], the learning rates that the rules looked at.
        losses: float[n], the smooth losses there.
    """
    start, place, end = valley_of(losses)
    return (
        f"The smooth loss falls longest from the rate {rates[start]:.2g} to {rates[end]:.2g}, from"
        f" {losses[start]:.3g} to {losses[end]:.3g}. This rate is in the middle of that fall;"
        f" a rate {rates[end] / rates[place]:.3g} times as large is at its end."
    )


def doubts(rates: np.ndarray, losses: np.ndarray, raw: np.ndarray, *, whole: bool) -> list[str]:
    """What speaks against trusting the curve, a sentence each.

    Args:
        rates: float[n], the learning rates that the rules looked at.
        losses: float[n], the smooth losses there.
        raw: float[n], the losses of the batches there.
        whole: whether the sweep was made to its end, so that nothing blew up.
    """
    found = []
    start, _, end = valley_of(losses)
    fall, spread = losses[start] - losses[end], float(np.std(raw - losses))
    if not fall > 0:
        return ["The loss never falls: lower `start`, or look at the loss, the labels and the data"]
    if fall < spread / 2:
        found.append(
            f"The fall of {fall:.2g} is small beside the spread of the batches' losses,"
            f" {spread:.2g}: sweep again with more `steps` or larger batches"
        )
    if whole and losses.argmin() == len(losses) - 1:
        found.append(
            f"The loss still falls at {rates[-1]:.2g}, the largest rate: raise `end` to see more"
        )
    return found
