"""Curves in panels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.drawing.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line = tuple[np.ndarray, np.ndarray]
Panels = Mapping[str, Mapping[str, Line]]
"""Panel -> line -> (x, y); lines of one name share a color over all panels."""

WIDTH, HEIGHT = 7.0, 2.2  # inches, of a panel
LOG_MARGIN = 1.2  # a factor beyond the first and the last point
POINTS = 600  # of a line: more than the eye sees


def draw(
    panels: Panels,
    *,
    xlabel: str = "steps",
    log_x: bool = False,
    width: float = WIDTH,
    height: float = HEIGHT,
    faint: Sequence[str] = (),
    marked: Sequence[str] = (),
    points: int | None = POINTS,
    at: Mapping[str, float] | None = None,
) -> "Figure":
    """Draw lines in panels, one above the other, over a shared axis.

    Points that are not finite are left out.

    Args:
        panels: label of a panel -> name of a line -> (x, y), arrays of n numbers each.
        xlabel: of the shared axis.
        log_x: whether that axis is logarithmic.
        width: of a panel, in inches.
        height: of a panel, in inches.
        faint: names of lines that are gray, and whose outliers may lie outside.
        marked: names of lines whose points are marked; those of lines of up to 12 points are too.
        points: how many points of a line are drawn at most; None for all.
        at: name -> a place on the shared axis, which a dashed line marks in all panels.

    Raises:
        ValueError: if there are no panels.
    """
    if not panels:
        raise ValueError("draw: `panels` must have one at least; got none. Train for an epoch.")
    from gradtx.drawing.figure import new_figure

    figure = new_figure(width, 0.6 + height * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    bright = [name for name in names if name not in faint]
    colors = dict.fromkeys(faint, "0.8") | {n: f"C{i % 10}" for i, n in enumerate(bright)}
    handles: dict[str, Any] = {}
    for ax, (label, lines) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in lines.items():
            x, y = thin(np.asarray(x), np.asarray(y, np.float64), points)
            marker = "o" if name in marked or len(x) <= 12 else None
            line = np.where(np.isfinite(y), y, np.nan)
            # Matplotlib gives names that begin with an underscore no entry in a legend.
            ax.plot(
                x,
                line,
                label=plain(name).lstrip("_"),
                color=colors[name],
                marker=marker,
                ms=4,
                lw=1,
            )
            if name:
                handles.setdefault(name, ax.lines[-1])
        ax.set(
            ylabel=plain(label),
            ylim=limits([y for name, (_, y) in lines.items() if name in bright]),
        )
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        for i, (name, x) in enumerate((at or {}).items()):
            look = {"color": f"C{(len(bright) + i) % 10}", "ls": "--", "lw": 1.5}
            handles[name] = ax.axvline(x, label=plain(name).lstrip("_"), **look)
    if len(handles) > 1:
        add_legend(figure, handles, width)
    axes[-1].set(xlabel=plain(xlabel))
    if log_x:
        # Of points that are all left out Matplotlib cannot tell where a logarithmic axis ends.
        x = np.concatenate([x for lines in panels.values() for x, _ in lines.values()])
        x = x[x > 0]
        limit = {"xlim": (x.min() / LOG_MARGIN, x.max() * LOG_MARGIN)} if x.size else {}
        axes[-1].set(xscale="log", **limit)
    return figure


def add_legend(figure: "Figure", handles: Mapping[str, Any], width: float) -> None:
    """Name the lines above the panels, in as many columns as there is room for.

    Args:
        figure: the figure.
        handles: the lines by name.
        width: of a panel, in inches.
    """
    columns = 3 if width > 6 else 1 if max(map(len, handles)) > 24 else 2
    options = {"ncols": columns, "fontsize": "small", "frameon": False}
    figure.legend(handles=list(handles.values()), loc="outside upper center", **options)


def limits(lines: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """Limits of the y axis that show these lines whole, or None where nothing is finite.

    Args:
        lines: float[n] each.
    """
    values = np.concatenate([np.zeros(0), *(np.asarray(y, np.float64) for y in lines)])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    margin = 0.07 * (float(np.ptp(values)) or abs(float(values[0])) or 1.0)
    return float(values.min()) - margin, float(values.max()) + margin


def thin(x: np.ndarray, y: np.ndarray, points: int | None) -> Line:
    """At most `points` of the points, evenly taken, with the first and the last; None takes all.

    Args:
        x: [n].
        y: [n].
        points: how many.
    """
    if points is None or len(x) <= points:
        return x, y
    taken = np.linspace(0, len(x) - 1, points).astype(int)
    return x[taken], y[taken]
