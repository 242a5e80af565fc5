"""What the losses of a learning rate sweep suggest: fastai's four rules."""

import numpy as np

SLIDE_WIDTH = 15
SLIDE_THRESHOLD = 0.005


def usable(losses: np.ndarray, steps: int) -> range:
    """Which points of a sweep of `steps` steps the rules look at.

        steps // 10 <= i < n - 5, up to the first NaN       n = points in the sweep

    The first tenth says nothing yet and the last points belong to the explosion. A sweep that ends
    with NaN counts as `steps` points, all NaN from there on.
    """
    bad = np.flatnonzero(np.isnan(losses))
    points = steps if bad.size else len(losses)
    end = min(points - 5, bad[0]) if bad.size else points - 5
    return range(steps // 10, end)


def suggest(rates: np.ndarray, losses: np.ndarray, steps: int) -> dict[str, float | None]:
    """The four suggestions, from the smooth losses; None where there are too few points."""
    kept = usable(losses, steps)
    rates, losses = rates[kept.start : kept.stop], losses[kept.start : kept.stop]
    rules = {"minimum": minimum, "steep": steep, "valley": valley, "slide": slide}
    return {name: rule(rates, losses) for name, rule in rules.items()}


def minimum(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """A tenth of the rate with the least loss.

    rates[argmin losses] / 10
    """
    return float(rates[losses.argmin()]) / 10 if len(losses) else None


def steep(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate at which the loss falls most steeply over the logarithm of the rate.

    rates[argmin_i (losses_i+1 - losses_i) / (log rates_i+1 - log rates_i)]
    """
    if len(losses) < 2:
        return None
    return float(rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))])


def valley(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate two thirds down the longest valley.

        rates[start + floor(s) + floor(s / 2)]       s = (end - start) / 3

    The valley ends at the point `end` where the longest strictly decreasing subsequence of the
    losses ends (the first such point), and `start` is `end` less its length.
    """
    if len(losses) < 2:
        return None
    length = np.ones(len(losses), int)  # of the longest decreasing subsequence that ends here
    for i in range(1, len(losses)):
        length[i] += max(length[:i][losses[:i] > losses[i]], default=0)
    end = int(length.argmax())
    # A curve that never falls has no valley; its first point stands for it.
    start = end - int(length[end]) if end else 0
    third = (end - start) / 3
    return float(rates[max(start + int(third) + int(third / 2), 0)])


def slide(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The left end of a window of 15 points, slid left from the end until it is on even slope.

        while |g_r - g_l| > 0.005:  l, r = l - 1, r - 1       g = gradient of losses, l = r - 15

    The suggestion is the rate at the last such l.
    """
    left = len(losses) - 1 - SLIDE_WIDTH
    if left < 0:
        return None
    slope = np.gradient(losses)
    rate = rates[left]
    while left >= 0 and abs(slope[left + SLIDE_WIDTH] - slope[left]) > SLIDE_THRESHOLD:
        rate = rates[left]
        left -= 1
    return float(rate)
