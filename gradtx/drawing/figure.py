"""The figure that all is drawn in. This file alone imports matplotlib, and is imported when called.

Not through `pyplot`, which would remember every figure and might open a display.
"""

from gradtx.drawing.output import to_png

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "gradtx.drawing needs matplotlib. Install it with `pip install gradtx[plot]`."
    ) from error


class Drawing(Figure):
    """A figure that a notebook shows also where nobody has imported `pyplot`."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def new_figure(width: float, height: float) -> Drawing:
    """An empty figure, which lays its parts out by itself.

    Args:
        width: in inches.
        height: in inches.
    """
    figure = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
