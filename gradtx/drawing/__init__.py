"""Figures and tables of plain arrays: for notebooks, for plots in files, for the report.

It imports nothing of gradtx, and matplotlib (the extra `plot`) only when something is drawn; so any
room can use it. A figure is a value: it belongs to no display and to no `pyplot`, and a notebook
shows it where it is the last value of a cell.
"""

from gradtx.drawing.images import draw_images
from gradtx.drawing.lines import Line, Panels, draw, limits, thin
from gradtx.drawing.markup import Markup, element, escape, image, table
from gradtx.drawing.matrix import draw_matrix
from gradtx.drawing.notebook import fragment, grid, picture
from gradtx.drawing.output import to_png

__all__ = [
    "Line",
    "Markup",
    "Panels",
    "draw",
    "draw_images",
    "draw_matrix",
    "element",
    "escape",
    "fragment",
    "grid",
    "image",
    "limits",
    "picture",
    "table",
    "thin",
    "to_png",
]
