"""Parallel coordinates: an axis for each column, a line for each run, copy or member."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from gradtx.drawing.markup import Markup, element
from gradtx.drawing.text import short as cut
from gradtx.report.chart import short, ticks
from gradtx.report.colors import line_class

LEFT, RIGHT, TOP, HEIGHT = 104, 40, 34, 210  # pixels
CLOSEST, FARTHEST, TOGETHER = 112, 210, 1000  # between axes; of all
NONE = TOP + HEIGHT + 16  # where what has no value is
WIDE = 30  # of the greatest to the least, from which an axis is logarithmic
LETTERS = 15
HOW = "Point at a line for its values; drag along an axis to select lines, click to release."


class Axis:
    """Where the values of a column are on its axis.

    Args:
        values: numbers, or anything else, which is put side by side in its order; None for none.
    """

    def __init__(self, values: Sequence[Any]) -> None:  # noqa: D107
        there = [x for x in values if _is_there(x)]
        numeric = bool(there) and all(is_number(x) for x in there)
        if not numeric:
            self.marks = [*dict.fromkeys(map(str, there))]
            place = {mark: i for i, mark in enumerate(self.marks)}
            self.share = lambda x: (place[str(x)] + 0.5) / len(self.marks)
            self.labels = {mark: self.share(mark) for mark in self.marks}
            return
        low, high = float(min(there)), float(max(there))
        log = low > 0 and high / low >= WIDE
        scale = math.log10 if log else float
        if not scale(low) < scale(high):
            low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
        start, room = scale(low), scale(high) - scale(low)
        self.share = lambda x: (scale(float(x)) - start) / room
        if log:
            powers = range(math.ceil(start - 1e-9), math.floor(scale(high) + 1e-9) + 1)
            marks = [10.0**power for power in powers]
        else:
            marks = ticks(low, high, 4)
        self.labels = {short(x): self.share(x) for x in marks or [low, high]}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value has a place on an axis of numbers.

    Args:
        value: any.
    """
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_there(value: Any) -> bool:
    return value is not None and (not is_number(value) or math.isfinite(value))


def parallel(
    columns: Mapping[str, Sequence[Any]],
    names: Sequence[str],
    *,
    alt: str,
    colors: Sequence[int] | None = None,
    best: int | None = None,
) -> Markup:
    """A drawing of parallel coordinates, of which the script makes one to select in.

    Args:
        columns: by name, a value for each line: a number, a text, or None.
        names: of the lines.
        alt: what it shows, for those who do not see it.
        colors: the number of each line's color, for lines that are runs; else they have one, and
            the best another.
        best: the line that is drawn on top.
    """
    axes = {name: Axis(values) for name, values in columns.items()}
    between = min(FARTHEST, max(CLOSEST, TOGETHER // len(axes)))
    width = LEFT + between * (len(axes) - 1) + RIGHT
    parts = []
    order = sorted(range(len(names)), key=lambda i: i == best)
    for i in order:
        values = [columns[name][i] for name in axes]
        points = [
            f"{LEFT + between * k} {_down(axis, value):.1f}"
            for k, (axis, value) in enumerate(zip(axes.values(), values, strict=True))
        ]
        told = ", ".join(f"{n} {_shown(x)}" for n, x in zip(axes, values, strict=True))
        color = line_class((1 if i == best else 0) if colors is None else colors[i])
        kind = f"line entry {color}{' best' if i == best else ''}"
        of = {"data_run": colors[i]} if colors is not None else {}
        title = element("title", f"{names[i]}: {told}")
        parts.append(element("path", title, d="M" + "L".join(points), class_=kind, **of))
    for i, (name, axis) in enumerate(axes.items()):
        parts += _axis(LEFT + between * i, name, axis, columns[name])
    box = f"0 0 {width} {NONE + 14}"
    style = f"width:{width}px"
    kind = {"role": "img", "aria_label": alt, "class_": "parallel"}
    drawing = element("svg", *parts, viewBox=box, style=style, **kind)
    said = element("p", HOW, class_="note told needs-script")
    return element("figure", element("div", drawing, class_="wide"), said, class_="lines")


def _axis(x: int, name: str, axis: Axis, values: Sequence[Any]) -> list[Markup]:
    """An axis with its name, its marks, and the box in which the script takes a selection."""
    title = element("title", name)
    head = element("text", cut(name, LETTERS), title, x=x, y=TOP - 14, text_anchor="middle")
    parts = [head, element("path", d=f"M{x} {TOP}V{TOP + HEIGHT}", class_="axis")]
    for mark, share in axis.labels.items():
        y = round(TOP + (1 - share) * HEIGHT, 1)
        label = element("text", cut(mark, LETTERS), x=x - 6, y=y + 4, text_anchor="end")
        parts += [element("path", d=f"M{x - 4} {y}H{x}", class_="axis"), label]
    if not all(map(_is_there, values)):
        parts.append(element("text", "none", x=x - 6, y=NONE + 4, text_anchor="end"))
    box = {"x": x - 14, "y": TOP - 6, "width": 28, "height": NONE - TOP + 12}
    return [*parts, element("rect", class_="brush", **box)]


def _down(axis: Axis, value: Any) -> float:
    return TOP + (1 - axis.share(value)) * HEIGHT if _is_there(value) else NONE


def _shown(value: Any) -> str:
    return short(float(value)) if is_number(value) and _is_there(value) else str(value)
