"""A matrix of counts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradtx.drawing.text import plain, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRITTEN = 25  # classes up to which the counts are written
NAMED = 60  # and the names
LETTERS = 20  # of a name


def draw_matrix(
    counts: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    ylabel: str = "label",
    xlabel: str = "prediction",
) -> "Figure":
    """Draw a matrix of counts, colored by the share of its row.

    Args:
        counts: int[r, c].
        rows: r names.
        columns: c names.
        ylabel: what a row is.
        xlabel: what a column is.
    """
    from gradtx.drawing.figure import new_figure

    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.45 * max(counts.shape) + 1.5, 3.5, 12))
    figure = new_figure(side, side)
    ax = figure.subplots()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    for axis, names in ((ax.xaxis, columns), (ax.yaxis, rows)):
        shown = [plain(short(name, LETTERS)) for name in names] if len(names) <= NAMED else []
        axis.set_ticks(range(len(shown)), labels=shown, fontsize="small")
    ax.tick_params(axis="x", rotation=90)
    if max(counts.shape) <= WRITTEN:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[i, j] > 0.5 else "black"
                ax.text(j, i, f"{count}", ha="center", va="center", color=color, fontsize="small")
    return figure
