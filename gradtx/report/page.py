"""The page of one run, and the page that compares several."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.files import write_atomically
from gradtx.report.curves import EACH, best_row, metrics_of, overlay, run_curves
from gradtx.report.figures import Panels, draw, png_bytes, to_svg
from gradtx.report.html import Markup, element, image, page, table
from gradtx.report.run import Run, count_faults, read_run
from gradtx.report.validation import Validation

MATRIX = 25  # classes that a confusion matrix shows
PAIRS = 10  # confusions in the list


def write_report(directory: str | Path) -> Path:
    """Write the page of a run, DIRECTORY/report.html, and return its path.

    Raises:
        ValueError: if the directory is not one of a run that has begun to train.
        OSError: if the page cannot be written.
    """
    run = read_run(directory)
    return _write(report_page(run), Path(directory) / "report.html")


def write_comparison(directories: Iterable[str | Path], path: str | Path) -> Path:
    """Write one page that lays the curves of several runs over each other, and return its path.

    Raises:
        ValueError, OSError: as `write_report`.
    """
    runs = [read_run(directory) for directory in directories]
    names = [run.name for run in runs]
    where = [str(directory) for directory in directories]
    unique = len(set(names)) == len(names)
    return _write(comparison_page(dict(zip(names if unique else where, runs, strict=True))), path)


def _write(text: str, path: str | Path) -> Path:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OSError(
            f"report: {path} must be a file that can be written; got"
            f" {error.strerror or type(error).__name__}. Name another place, or make room there."
        ) from error
    return Path(path)


def report_page(run: Run) -> str:
    """The page of one run, as text."""
    parts = [element("p", _summary(run)), _section("Curves", curves(run_curves(run)))]
    parts.append(_section("Epochs", _epochs(run)))
    if run.validation is not None and len(run.validation.labels):
        parts.append(_section("Confusions", *confusions(run.validation, run.classes)))
        parts.append(_section("Most wrong", worst(run.validation, run.classes)))
    parts.append(_section("Faults", *_faults(run)))
    rows = [(name, _said(value)) for name, value in run.config.items()]
    parts.append(_section("Configuration", table(("option", "value"), rows, class_="config")))
    return page(run.name, *parts)


def comparison_page(runs: Mapping[str, Run]) -> str:
    """The page that compares runs, as text."""
    metrics = list(dict.fromkeys(m for run in runs.values() for m in metrics_of(run.history)))
    header = ("run", "epochs", "train_loss", "valid_loss", *metrics, "data")
    rows = []
    for name, run in runs.items():
        last = run.history.rows[-1] if run.history.rows else {}
        numbers = [_number(last.get(k)) for k in ("train_loss", "valid_loss", *metrics)]
        rows.append((name, len(run.history.rows), *numbers, run.config.get("data", "-")))
    options = list(dict.fromkeys(key for run in runs.values() for key in run.config))
    values = {key: [_said(run.config.get(key)) for run in runs.values()] for key in options}
    different = [(key, *said) for key, said in values.items() if len(set(said)) > 1]
    faults = {name: count_faults(run) for name, run in runs.items()}
    kinds = list(dict.fromkeys(kind for found in faults.values() for kind in found))
    counts = [(kind, *(found.get(kind, "-") for found in faults.values())) for kind in kinds]
    parts = [
        _section("After the last epoch", table(header, rows)),
        _section("Curves", curves(overlay(runs))),
        _section("Options that differ", table(("option", *runs), different, class_="config")),
        _section("Faults", table(("kind", *runs), counts)),
    ]
    return page(" and ".join(runs) if len(runs) < 3 else f"{len(runs)} runs", *parts)


def curves(panels: Panels) -> Markup:
    """A figure for each panel, side by side where there is room."""
    figures = []
    for label, lines in panels.items():
        svg = to_svg(draw({label: lines}, width=4.6, height=2.7, faint=(EACH,)))
        alt = f"{label} over steps" + (f": {', '.join(lines)}" if len(lines) > 1 else "")
        figures.append(element("figure", image(svg.encode(), kind="image/svg+xml", alt=alt)))
    return element("div", *figures, class_="grid")


def confusions(validation: Validation, classes: tuple[str, ...]) -> list[Markup]:
    """The confusion matrix, if the classes are few, and the most frequent confusions."""
    matrix: Any = validation.confusion()
    names = _names(classes, len(matrix))
    parts = []
    if len(matrix) <= MATRIX:
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        cell = lambda i, j: _cell(matrix[i, j], share[i, j], right=i == j)
        rows = [
            (element("th", name, scope="row"), *(cell(i, j) for j in range(len(names))))
            for i, name in enumerate(names)
        ]
        parts.append(element("p", "A row for each class, a column for what it is taken for."))
        parts.append(table(("", *names), rows, class_="matrix"))
    off = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = [(*np.unravel_index(i, off.shape), off.flat[i]) for i in order if off.flat[i]]
    rows = [(names[i], names[j], n) for i, j, n in pairs]
    parts.append(table(("class", "taken for", "images"), rows))
    return parts


def _cell(count: int, share: float, *, right: bool) -> Markup:
    color = f"rgba({'46,125,50' if right else '198,40,40'},{0.75 * share:.3f})"
    return element("td", count, style=f"background:{color}") if count else element("td", "")


def worst(validation: Validation, classes: tuple[str, ...]) -> Markup:
    """The images of least probability for their class, with what they are taken for."""
    names = _names(classes, validation.probabilities.shape[1])
    tiles = []
    for index, pixels in zip(validation.worst, validation.images, strict=True):
        label, p = validation.labels[index], validation.probabilities[index]
        top = ", ".join(f"{names[j]} {p[j]:.1%}" for j in np.argsort(-p, kind="stable")[:3])
        caption = element("figcaption", element("b", names[label]), f" {p[label]:.1%}: {top}")
        alt = f"validation image {index}, {names[label]}"
        shown = image(png_bytes(pixels), kind="image/png", alt=alt)
        tiles.append(element("figure", shown, caption))
    return element("div", *tiles, class_="tiles")


def _summary(run: Run) -> str:
    best = best_row(run.history, metrics := metrics_of(run.history))
    what = f"{run.config.get('model', 'model')} on {run.config.get('dataset', 'data')}"
    if best is None:
        return f"{what}; no epoch has ended with finite figures yet."
    figures = ", ".join(f"{name} {_number(best[name])}" for name in ("valid_loss", *metrics))
    return f"{what}, {len(run.history.rows)} epochs. Best, epoch {best['epoch']}: {figures}."


def _epochs(run: Run) -> Markup:
    columns = ("epoch", "train_loss", "valid_loss", *metrics_of(run.history))
    return table(columns, [[_number(row.get(c)) for c in columns] for row in run.history.rows])


def _faults(run: Run) -> list[Markup]:
    bad = lambda n: element("td", n, class_="bad") if n else n
    parts = [table(("kind", "count"), [(kind, bad(n)) for kind, n in count_faults(run).items()])]
    if run.skipped:
        rows = [(s["split"], s["index"], s["why"]) for s in run.skipped]
        parts.append(table(("split", "image", "why"), rows, class_="config"))
    return parts


def _section(title: str, *parts: Markup) -> Markup:
    return element("section", element("h2", title), *parts)


def _names(classes: tuple[str, ...], count: int) -> tuple[str, ...]:
    return classes if len(classes) == count else tuple(map(str, range(count)))


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _said(value: Any) -> str:
    return "-" if value is None else str(value)
