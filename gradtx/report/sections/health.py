"""Health by layer: norms, ratios and histograms that a hook has logged under `health/`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element, image
from gradtx.loop import HISTOGRAM_EDGES
from gradtx.report.colors import LIGHT
from gradtx.report.curves import HEALTH
from gradtx.report.plot import Plot, Trace, figures
from gradtx.report.png import png
from gradtx.report.run import Run
from gradtx.report.sections.frame import folded, long_table, note, number, section
from gradtx.report.thin import Line

HISTOGRAM = HEALTH + "histogram/"
BINS = (
    "From the left the first step to the last, from below the least values to the greatest. The"
    " bins are powers of two, on both sides of zero: the stronger, the more values are in one."
)
OF_PARTS = {  # quantities of the parts of the optimizer's chain, not of layers
    "share": "what a part of the chain changes of the update",
    "factor": "the update's norm after a part of the chain over that before",
}
COLUMNS = 160  # of a histogram's image: points in time


def health(run: Run) -> list[Markup]:
    """A panel for each quantity, with a line for each layer; the last values; histograms.

    Args:
        run: the run.
    """
    steps = run.history.steps
    at = np.asarray(steps.get("step", np.zeros(0)), float) + (run.foreign is None)
    quantities: dict[str, dict[str, Line]] = {}
    sampled = run.history.samples.items()
    counted: dict[str, Any] = {name: [*by_step.values()] for name, by_step in sampled}
    for name, values in steps.items():
        if not name.startswith(HEALTH) or isinstance(values, Mapping):
            continue
        array = np.asarray(values)
        if array.ndim == 2:
            counted[name] = array
        elif array.ndim == 1 and array.dtype.kind in "fiub":
            quantity, _, layer = name.removeprefix(HEALTH).partition("/")
            quantities.setdefault(quantity, {})[layer or quantity] = at, array.astype(float)
    parts = []
    if quantities:
        ordered = sorted(quantities, key=lambda name: name in OF_PARTS)
        parts.append(figures([_plot(name, quantities[name], run.axis) for name in ordered]))
        parts += _last(quantities)
    histograms: dict[str, list[Markup]] = {}
    for name, counts in counted.items():
        kind, _, layer = name.removeprefix(HISTOGRAM).partition("/")
        if name.startswith(HISTOGRAM) and len({np.shape(each) for each in counts}) == 1:
            image_of = _histogram(layer, np.asarray(counts, float))
            histograms.setdefault(kind, []).append(image_of)
    for kind, images in histograms.items():
        shown = element("div", *images, class_="tiles")
        said = note(BINS)
        parts.append(folded(f"Histograms of {kind}", said, shown))
    return [section("Health by layer", *parts)] if parts else []


def _plot(quantity: str, lines: Mapping[str, Line], xlabel: str) -> Plot:
    traces = [Trace(layer, x, y, i) for i, (layer, (x, y)) in enumerate(lines.items())]
    return Plot(OF_PARTS.get(quantity, quantity.replace("_", " ")), traces, xlabel)


def _last(quantities: Mapping[str, Mapping[str, Line]]) -> list[Markup]:
    """The last value of each quantity, a row for each layer."""
    named = {
        q: lines for q, lines in quantities.items() if lines.keys() != {q} and q not in OF_PARTS
    }
    layers = dict.fromkeys(layer for lines in named.values() for layer in lines)
    rows = []
    for layer in layers:
        of = [lines[layer][1] if layer in lines else np.zeros(0) for lines in named.values()]
        finite = [y[np.isfinite(y)] for y in of]
        last = [number(float(y[-1])) if len(y) else "-" for y in finite]
        rows.append((element("th", element("bdi", layer), scope="row"), *last))
    header = ("layer", *(quantity.replace("_", " ") for quantity in named))
    said = note("The last values; a click on a heading sorts.")
    return [said, *long_table(header, rows, class_="sortable")] if rows else []


def _histogram(layer: str, counts: np.ndarray) -> Markup:
    """The shares of the bins over time as an image."""
    counts = np.nan_to_num(counts[np.nansum(counts, axis=1) > 0])
    if not len(counts):
        return element("figure", element("figcaption", element("bdi", layer), ": no values yet"))
    parts = np.array_split(counts, min(len(counts), COLUMNS))
    used = np.flatnonzero(counts.sum(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    shares = [part.sum(axis=0) / part.sum() for part in parts]
    share = np.stack(shares, axis=1)[low:high][::-1]
    pixels = np.zeros((*share.shape, 4), np.uint8)
    pixels[..., :3] = [int(LIGHT["line-0"][i : i + 2], 16) for i in (1, 3, 5)]
    pixels[..., 3] = np.rint(255 * np.sqrt(share / share.max()))
    shown = image(png(pixels), kind="image/png", alt=f"histograms of {layer} over time")
    said = f" {_edge(counts, low, 'less')} to {_edge(counts, high, 'more')}"
    caption = element("figcaption", element("bdi", layer), said)
    return element("figure", shown, caption, class_="bins")


def _edge(counts: np.ndarray, number_of: int, beyond: str) -> str:
    """What bounds a bin from below, where the bins are those of `HISTOGRAM_EDGES`."""
    if counts.shape[1] != len(HISTOGRAM_EDGES) + 1:
        return f"bin {number_of}"
    inside = 0 < number_of <= len(HISTOGRAM_EDGES)
    return number(float(HISTOGRAM_EDGES[number_of - 1])) if inside else beyond
