"""Figures as bytes."""

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS = 120  # per inch


def to_png(figure: "Figure") -> bytes:
    """The figure as a PNG image.

    Args:
        figure: the figure.
    """
    data = BytesIO()
    figure.savefig(data, dpi=DOTS, format="png")
    return data.getvalue()
