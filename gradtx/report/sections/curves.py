"""Curves: of one run by what they show, of several by run."""

from collections.abc import Mapping

import numpy as np

from gradtx.drawing.markup import Markup, element
from gradtx.report.curves import EACH, SMOOTH, VALID, other_curves, overlay, run_curves
from gradtx.report.plot import Plot, Trace, figures
from gradtx.report.run import Run
from gradtx.report.sections.frame import folded, note, number, section
from gradtx.report.thin import Line

HOW = (
    "Drag to zoom, with two fingers on a touch screen; a double click shows all again. A line is"
    " named below its panel, with its value where the pointer is; a click on its name hides it."
)


def curves(run: Run) -> Markup:
    """The curves of one run: a color for each kind of line, the same in all panels.

    Args:
        run: the run.
    """
    panels = run_curves(run)
    if not panels:
        return section("Curves", note("No metrics yet."))
    return section("Curves", _how(), _drawn(panels, run.axis))


def compared_curves(runs: Mapping[str, Run]) -> Markup:
    """The curves of several runs laid over each other: a color for each run.

    Args:
        runs: the runs by name.
    """
    number_of = {name: i for i, name in enumerate(runs)}
    axes = {run.axis for run in runs.values() if len(run.history.steps) or run.history.rows}
    xlabel = axes.pop() if len(axes) == 1 else "steps"
    others = sorted(axes - {xlabel})
    plots = []
    for panel, lines in overlay(runs).items():
        traces = [
            Trace(name, x, y, number_of[name], run=number_of[name])
            for name, (x, y) in lines.items()
        ]
        plots.append(Plot(panel, traces, xlabel))
    if not plots:
        return section("Curves", note("No metrics yet."))
    parts = [_how(), figures(plots)]
    if others:
        parts.append(note(f"Some runs' curves are over {' or '.join(others)} instead."))
    return section("Curves", *parts)


def others(run: Run) -> list[Markup]:
    """What else is logged at each step: curves of what changes, the rest in words.

    Args:
        run: the run.
    """
    moving, still = {}, []
    for name, lines in other_curves(run).items():
        for part, (x, y) in lines.items():
            finite = y[np.isfinite(y)]
            if len(finite) and (finite == finite[0]).all():
                still.append(f"{name}{f' ({part})' if part else ''} = {number(float(finite[0]))}")
            elif len(finite):
                moving.setdefault(name, {})[part] = x, y
    parts = [_drawn(moving, run.axis)] if moving else []
    if still:
        parts.append(note(f"The same at every step: {', '.join(still)}."))
    return [section("Also logged", folded("Other entries of the steps' logs", *parts))] * bool(
        parts
    )


def _how() -> Markup:
    return element("p", HOW, class_="note needs-script")


def _drawn(panels: Mapping[str, Mapping[str, Line]], xlabel: str) -> Markup:
    colors = {EACH: 0, SMOOTH: 0, "": 0, "training": 0, VALID: 1}
    for name in (name for lines in panels.values() for name in lines):
        colors.setdefault(name, 1 + max(colors.values()))
    plots = []
    for panel, lines in panels.items():
        traces = [
            Trace(name or panel, x, y, colors[name], faint=name == EACH)
            for name, (x, y) in lines.items()
        ]
        plots.append(Plot(panel, traces, xlabel))
    return figures(plots)
