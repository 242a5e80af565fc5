"""Health by layer: norms, ratios and histograms that a hook has logged under `health/`."""

from collections.abc import Mapping

import numpy as np

from gradtx.drawing.markup import Markup, element, image
from gradtx.report.colors import LIGHT
from gradtx.report.curves import HEALTH
from gradtx.report.plot import Plot, Trace, figures
from gradtx.report.png import png
from gradtx.report.run import Run
from gradtx.report.sections.frame import folded, long_table, note, number, section
from gradtx.report.thin import Line

HISTOGRAM = HEALTH + "histogram/"
BINS = "From the left the first step to the last; from below the least bin to the greatest."
COLUMNS = 160  # of a histogram's image: points in time


def health(run: Run) -> list[Markup]:
    """A panel for each quantity, with a line for each layer; the last values; histograms.

    Args:
        run: the run.
    """
    steps = run.history.steps
    at = np.asarray(steps.get("step", np.zeros(0)), float) + (run.foreign is None)
    quantities: dict[str, dict[str, Line]] = {}
    histograms: dict[str, dict[str, np.ndarray]] = {}
    for name, values in steps.items():
        if not name.startswith(HEALTH) or isinstance(values, Mapping):
            continue
        array = np.asarray(values)
        if name.startswith(HISTOGRAM) and array.ndim == 2:
            kind, _, layer = name.removeprefix(HISTOGRAM).partition("/")
            histograms.setdefault(kind, {})[layer] = array.astype(float)
        elif array.ndim == 1 and array.dtype.kind in "fiub":
            quantity, _, layer = name.removeprefix(HEALTH).partition("/")
            quantities.setdefault(quantity, {})[layer or quantity] = at, array.astype(float)
    parts = []
    if quantities:
        parts.append(figures([_plot(name, lines, run.axis) for name, lines in quantities.items()]))
        parts += _last(quantities)
    for kind, layers in histograms.items():
        shown = element("div", *map(_histogram, layers, layers.values()), class_="tiles")
        said = note(BINS)
        parts.append(folded(f"Histograms of {kind}", said, shown))
    return [section("Health by layer", *parts)] if parts else []


def _plot(quantity: str, lines: Mapping[str, Line], xlabel: str) -> Plot:
    traces = [Trace(layer, x, y, i) for i, (layer, (x, y)) in enumerate(lines.items())]
    return Plot(quantity.replace("_", " "), traces, xlabel)


def _last(quantities: Mapping[str, Mapping[str, Line]]) -> list[Markup]:
    """The last value of each quantity, a row for each layer."""
    named = {q: lines for q, lines in quantities.items() if lines.keys() != {q} and q != "share"}
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
    """The shares of the bins over time as an image: the stronger, the more values are in one."""
    counts = np.nan_to_num(counts[np.nansum(counts, axis=1) > 0])
    parts = np.array_split(counts, min(len(counts), COLUMNS)) if len(counts) else []
    if not parts:
        return element("figure", element("figcaption", layer, ": no values yet"))
    share = np.stack([part.sum(axis=0) / part.sum() for part in parts], axis=1)[::-1]
    pixels = np.zeros((*share.shape, 4), np.uint8)
    pixels[..., :3] = [int(LIGHT["line-0"][i : i + 2], 16) for i in (1, 3, 5)]
    pixels[..., 3] = np.rint(255 * np.sqrt(share / share.max()))
    shown = image(png(pixels), kind="image/png", alt=f"histograms of {layer} over time")
    return element("figure", shown, element("figcaption", element("bdi", layer)), class_="bins")
