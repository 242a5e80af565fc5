"""Figures and images as text and bytes."""

from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_svg(figure: "Figure") -> str:
    """The figure as an <svg> element, with its letters as shapes and no date in it.

    Args:
        figure: the figure.
    """
    import matplotlib

    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "gradtx"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def to_png(figure: "Figure") -> bytes:
    """The figure as a PNG image.

    Args:
        figure: the figure.
    """
    from gradtx.drawing.figure import DOTS

    data = BytesIO()
    figure.savefig(data, dpi=DOTS, format="png")
    return data.getvalue()


def pixels_to_png(pixels: np.ndarray) -> bytes:
    """Pixels as a PNG image of as many.

    Args:
        pixels: uint8[h, w, 1 or 3].
    """
    from gradtx.drawing.figure import imsave

    data = BytesIO()
    gray = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    imsave(data, np.ascontiguousarray(gray), format="png")
    return data.getvalue()
