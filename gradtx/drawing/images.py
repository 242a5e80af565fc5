"""Images side by side."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradtx.drawing.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 1.6  # inches, of an image
LETTERS = 24  # of a line of a title
RIGHT, WRONG = "#1b6e20", "#b3261e"  # green and red that differ in lightness on white


def draw_images(
    images: np.ndarray,
    titles: Sequence[str],
    *,
    right: Sequence[bool] | None = None,
    columns: int | None = None,
) -> "Figure":
    """Draw images in rows, each under its title.

    Args:
        images: uint8[n, h, w, 1 or 3].
        titles: n texts, of one line or several.
        right: whether the color of each title says so; None: titles are black.
        columns: images in a row; None: about as many as rows.

    Raises:
        ValueError: if there are no images.
    """
    if not len(images):
        raise ValueError("draw_images: `images` must have one at least; got none. Pass some.")
    from gradtx.drawing.figure import new_figure

    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") + 1 for title in titles)
    figure = new_figure(columns * SIDE, rows * (SIDE + 0.2 * lines))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, ax in enumerate(axes):
        ax.set_axis_off()
        if i < len(images):
            gray = images.shape[-1] == 1
            how = {"cmap": "gray", "vmin": 0, "vmax": 255} if gray else {}
            ax.imshow(images[i, ..., 0] if gray else images[i], **how)
            color = "black" if right is None else RIGHT if right[i] else WRONG
            shown = "\n".join(map(plain, titles[i].split("\n")))
            ax.set_title(shown, fontsize="small", color=color)
    return figure
