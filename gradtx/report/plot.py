"""Curves in a figure: drawn as SVG for those who only look, with the numbers for the script."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element
from gradtx.files import printable
from gradtx.output import counted
from gradtx.report.chart import chart
from gradtx.report.colors import line_class
from gradtx.report.thin import Thinned, clean, thin

DIGITS = 6  # of a number
FEWEST, MOST = 100, 2000  # points of a line
TOGETHER = 60_000  # points of the lines of a section


@dataclass(frozen=True)
class Trace:
    """One line of a plot.

    Args:
        label: its name.
        x: where its points are, float[n].
        y: their heights, float[n]; what is not finite is left out.
        color: its number among the lines' colors.
        faint: whether it is drawn behind the others, which set the limits.
        run: the number of the run that it is of, on a page that compares several.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    color: int = 0
    faint: bool = False
    run: int | None = None


@dataclass(frozen=True)
class Plot:
    """Lines over a shared axis.

    Args:
        title: what they show.
        traces: the lines.
        xlabel: of the axis.
    """

    title: str
    traces: Sequence[Trace]
    xlabel: str = "steps"


def figures(plots: Sequence[Plot]) -> Markup:
    """Figures side by side, where there is room; together they have a bounded number of points.

    Args:
        plots: what is to be drawn; one without a finite point is told in words.
    """
    lines = sum(len(plot.traces) for plot in plots)
    most = min(MOST, max(FEWEST, TOGETHER // max(lines, 1)))
    return element("div", *(figure(plot, most) for plot in plots), class_="grid")


def figure(plot: Plot, most: int = MOST) -> Markup:
    """One figure; the script replaces its drawing by one to explore.

    Args:
        plot: what is to be drawn.
        most: the points that a line has at most.
    """
    drawn = [(trace, clean(np.asarray(trace.x, float), _floats(trace.y))) for trace in plot.traces]
    drawn = [(trace, line) for trace, line in drawn if len(line[0])]
    title = element("figcaption", plot.title)
    if not drawn:
        said = element("p", "No finite value yet.", class_="note")
        return element("figure", title, said, class_="plot")
    thinned = [(trace, thin(*line, most)) for trace, line in drawn]
    names = ", ".join(trace.label for trace, _ in drawn)
    svg = chart(
        [(trace.color, trace.faint, trace.run, *line) for trace, line in drawn],
        xlabel=plot.xlabel,
        alt=f"{plot.title} over {plot.xlabel}: {names}",
    )
    legend = element("ul", *(_entry(trace) for trace, _ in drawn), class_="legend")
    longest = max(len(line[0]) for _, line in drawn)
    notes = []
    if longest > most:
        said = f"Of {counted(longest, 'point')} a line has {most:,} here: the least and the"
        notes = [element("p", f"{said} greatest of each interval.", class_="note")]
    data = element("script", _json(plot, thinned), type="application/json")
    return element("figure", title, svg, legend, *notes, data, class_="plot")


def _entry(trace: Trace) -> Markup:
    """The line of a legend: what it looks like, and its name."""
    path = element("path", d="M0 4H22", class_=f"line {line_class(trace.color)}")
    shown = element("svg", path, class_="faint swatch" if trace.faint else "swatch")
    of = {} if trace.run is None else {"data_run": trace.run}
    return element("li", shown, element("bdi", trace.label), **of)


def _floats(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64)


def _json(plot: Plot, thinned: Sequence[tuple[Trace, Thinned]]) -> Markup:
    """The numbers of a plot for the script."""
    lines = []
    for trace, line in thinned:
        mean = None if line.mean is None else [*map(_rounded, line.mean)]
        lines.append(
            {
                "label": printable(trace.label),
                "color": trace.color,
                "faint": trace.faint,
                "run": trace.run,
                "x": _rounded(line.x),
                "y": _rounded(line.y),
                "mean": mean,
            }
        )
    return inline_json({"title": printable(plot.title), "axis": plot.xlabel, "lines": lines})


def _rounded(values: np.ndarray) -> list[float | int]:
    """Numbers of so many digits, without what JSON need not have, as the 0 in 1.0."""
    whole = lambda x: int(x) if x == int(x) and abs(x) < 1e15 else x
    return [whole(float(f"{x:.{DIGITS}g}")) if abs(x) < 1e300 else float(x) for x in values]


def inline_json(value: Any) -> Markup:
    r"""JSON that may stand within a page, whatever is in its texts.

    >>> inline_json({"name": "</script><!--"})
    '{"name":"\\u003c/script\\u003e\\u003c!--"}'

    Args:
        value: what JSON can hold.
    """
    text = json.dumps(value, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
