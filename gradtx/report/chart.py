"""Lines in an SVG drawing, which takes its colors from the page's style."""

import math
from collections.abc import Sequence

import numpy as np

from gradtx.drawing.markup import Markup, element
from gradtx.report.colors import line_class
from gradtx.report.thin import thin

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 8, 38
POINTS, TOGETHER = 240, 6000  # of a line: as many as pixels; of all lines
OUTSIDE = 0.02  # of a faint line's points, at either end
FEWEST = 30
DOTTED = 12  # a line of so few points has them marked

Drawn = tuple[int, bool, int | None, np.ndarray, np.ndarray]  # color, faint, run, x, y


def chart(lines: Sequence[Drawn], *, xlabel: str, alt: str) -> Markup:
    """A drawing of lines, over linear axes.

    Args:
        lines: (color, faint, run, x, y), of finite points, one at least.
        xlabel: of the horizontal axis.
        alt: what it shows, for those who do not see it.
    """
    # Of a line behind the others the outliers may lie outside.
    ends = (OUTSIDE, 1 - OUTSIDE)
    heights = [np.quantile(y, ends) if faint else y for _, faint, _, _, y in lines]
    x_low, x_high = limits([x for *_, x, _ in lines], margin=0.0)
    y_low, y_high = limits(heights, margin=0.06)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    across = lambda x: (np.asarray(x) - x_low) / (x_high - x_low) * width
    down = lambda y: (y_high - np.asarray(y)) / (y_high - y_low) * height
    axes = []
    for y in ticks(y_low, y_high):
        at = round(TOP + float(down(y)), 1)
        axes.append(element("path", d=f"M{LEFT} {at}H{WIDTH - RIGHT}", class_="rule"))
        axes.append(_text(short(y), LEFT - 6, at + 4, "end"))
    for x in ticks(x_low, x_high):
        axes.append(_text(short(x), round(LEFT + float(across(x)), 1), TOP + height + 15, "middle"))
    axes.append(_text(xlabel, LEFT + width / 2, HEIGHT - 4, "middle"))
    parts, most = [], max(FEWEST, min(POINTS, TOGETHER // len(lines)))
    for color, faint, run, x, y in sorted(lines, key=lambda line: not line[1]):
        x, y, _ = thin(x, y, most)
        points = [f"{a:.1f} {b:.1f}" for a, b in zip(across(x), down(y), strict=True)]
        of = {} if run is None else {"data_run": run}
        kind = f"line {line_class(color)}{' faint' if faint else ''}"
        parts.append(element("path", d="M" + "L".join(points), class_=kind, **of))
        if len(x) <= DOTTED:
            dots = (element("circle", cx=p.split()[0], cy=p.split()[1], r=3) for p in points)
            parts.append(element("g", *dots, class_=f"dot {line_class(color)}", **of))
    # What lies outside an inner drawing is cut off.
    inner = element("svg", *parts, x=LEFT, y=TOP, width=width, height=height)
    box = f"0 0 {WIDTH} {HEIGHT}"
    return element("svg", *axes, inner, viewBox=box, role="img", aria_label=alt, class_="chart")


def _text(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=x, y=round(y, 1), text_anchor=anchor)


def limits(lines: Sequence[np.ndarray], *, margin: float) -> tuple[float, float]:
    """The least and the greatest value, and a margin as a share of what is between.

    Args:
        lines: finite values, one at least.
        margin: the share.
    """
    low = min(float(np.min(values)) for values in lines)
    high = max(float(np.max(values)) for values in lines)
    if not low < high:
        return low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    room = margin * (high - low)
    return (low - room, high + room) if math.isfinite(high - low) else (low, high)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two.

    >>> ticks(0.0, 1.0), ticks(-3.0, 160.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 50.0, 100.0, 150.0])

    Args:
        low: the lower end.
        high: the upper end, greater.
        most: about so many of them.
    """
    rough = high / most - low / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.99)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # 3 * 0.1 is no round number.
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def short(value: float) -> str:
    """A number as a tick has it.

    >>> short(0.25), short(20000.0), short(3e-05), short(2.5e7)
    ('0.25', '20,000', '3e-5', '2.5e7')

    Args:
        value: the number.
    """
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.6g}" if abs(value) < 1e3 else f"{value:,.0f}"
    digits, _, power = f"{value:.3g}".partition("e")
    if not power:
        digits, _, power = f"{value:.2e}".partition("e")
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}e{int(power)}"
