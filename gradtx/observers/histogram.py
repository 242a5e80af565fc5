"""Counts of numbers in bins, for what draws histograms."""

from typing import Any

from gradtx.loop.histogram import HISTOGRAM_EDGES

NAME = "health/histogram/"


def edges_of(name: str, counts: Any) -> list[float] | None:
    """The edges between the bins of an array in a log, [bins + 1]; None if it is no histogram.

    The first and the last bin are open; half a bin of theirs is drawn.
    """
    if NAME not in name or not isinstance(counts, list):
        return None
    edges = [float(edge) for edge in HISTOGRAM_EDGES]
    return [2 * edges[0], *edges, 2 * edges[-1]]
