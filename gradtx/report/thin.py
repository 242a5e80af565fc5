"""A line with fewer points, which keeps what stands out."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

Line = tuple[np.ndarray, np.ndarray]
MOST = 1e300  # beyond which a difference may be infinite


class Thinned(NamedTuple):
    """The points of a line that are drawn; of a longer one also the mean of each interval."""

    x: np.ndarray
    y: np.ndarray
    mean: Line | None


def clean(x: np.ndarray, y: np.ndarray) -> Line:
    """The finite points of a line, in the order of x; of several at one place the last.

    Args:
        x: where the points are, float[n].
        y: their heights, float[n].
    """
    kept = (np.abs(x) < MOST) & (np.abs(y) < MOST)  # False for NaN
    x, y = x[kept], y[kept]
    if (np.diff(x) <= 0).any():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
        last = np.append(np.diff(x) > 0, True)
        x, y = x[last], y[last]
    return x, y


def thin(x: np.ndarray, y: np.ndarray, most: int) -> Thinned:
    """At most `most` points: the least and the greatest of equally many in a row, and both ends.

    >>> spike = np.array([0.0, 0, 0, 9, 0, 0, 0, 0, -9, 0, 0, 0])
    >>> thin(np.arange(12), spike, 6).y.tolist()
    [0.0, 9.0, 0.0, -9.0, 0.0]

    Args:
        x: where the points are, float[n], increasing.
        y: their heights, float[n], finite.
        most: at least 4.
    """
    if len(x) <= most:
        return Thinned(x, y, None)
    edges = np.linspace(0, len(x), (most - 2) // 2 + 1).astype(int)
    found = {0, len(x) - 1}
    for a, b in pairwise(edges):
        found |= {a + int(np.argmin(y[a:b])), a + int(np.argmax(y[a:b]))}
    taken = np.array(sorted(found))
    counts = np.diff(edges)
    means = [np.add.reduceat(np.asarray(v, float), edges[:-1]) / counts for v in (x, y)]
    return Thinned(x[taken], y[taken], (means[0], means[1]))
