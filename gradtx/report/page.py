"""The page of one run, and the page that compares several."""

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.drawing import Markup, Panels, draw, element, image, pixels_to_png, table, to_svg
from gradtx.files import as_path, write_atomically
from gradtx.kinds import checked
from gradtx.observers.table import FOOT
from gradtx.output import counted
from gradtx.report.curves import EACH, best_row, metrics_of, overlay, run_curves
from gradtx.report.html import page
from gradtx.report.run import Run, count_faults, read_run
from gradtx.report.validation import Validation

LOSSES = ("train_loss", "train_loss_mean", "valid_loss")
MATRIX = 25  # classes that a confusion matrix shows
NONE = "none: NaN"  # what an image without a prediction is taken for
PAIRS = 10  # confusions in the list


@checked
def write_report(directory: str | Path) -> Path:
    """Write the page of a run, DIRECTORY/report.html, and return its path.

    Args:
        directory: of a run, also of one that is under way.

    Raises:
        ValueError: if the directory is not one of a run that has started to train.
        OSError: if the page cannot be written.
    """
    run = read_run(directory)
    return _write(report_page(run), as_path(directory) / "report.html")


@checked
def write_comparison(directories: Iterable[str | Path], path: str | Path) -> Path:
    """Write one page that lays the curves of several runs over each other, and return its path.

    Args:
        directories: of the runs, one at least.
        path: the page's file.

    Raises:
        ValueError, OSError: as `write_report`.
    """
    where = [str(directory) for directory in directories]
    runs = [read_run(directory) for directory in where]
    names = [run.name for run in runs]
    unique = len(set(names)) == len(names)
    return _write(comparison_page(dict(zip(names if unique else where, runs, strict=True))), path)


def _write(text: str, path: str | Path) -> Path:
    path = as_path(path)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OSError(
            f"report: {path} must be a file that can be written; got"
            f" {error.strerror or type(error).__name__}. Name another place, or make room there."
        ) from error
    return path


@checked
def report_page(run: Run) -> str:
    """The page of one run, as text.

    Args:
        run: what the run has left, as `read_run` reads it.
    """
    parts = [element("p", _summary(run))]
    if run.augmentation:
        parts.append(element("p", f"Training images: {run.augmentation}."))
    parts += [_section("Curves", curves(run_curves(run))), _section("Epochs", *_epochs(run))]
    if run.validation is not None and len(run.validation.labels):
        parts.append(_section("Confusions", *confusions(run.validation, run.classes)))
        parts.append(_section("Most wrong", worst(run.validation, run.classes)))
    parts.append(_section("Faults", *_faults(run)))
    rows = [(name, _text(value)) for name, value in run.options.items()]
    parts.append(_section("Configuration", table(("option", "value"), rows, class_="config")))
    return page(run.name, *parts)


@checked
def comparison_page(runs: Mapping[str, Run]) -> str:
    """The page that compares runs, as text.

    Args:
        runs: the runs by the names that the page gives them, one at least.
    """
    options = table(("option", *runs), _different_options(runs), class_="config")
    parts = [
        _section("After the last epoch", _last_epochs(runs)),
        _section("Curves", curves(overlay(runs))),
        _section("Options that differ", options),
        _section("Faults", table(("kind", *runs), _fault_counts(runs))),
    ]
    return page(" and ".join(runs) if len(runs) < 3 else f"{len(runs)} runs", *parts)


def _last_epochs(runs: Mapping[str, Run]) -> Markup:
    """A row for each run: its figures after the last epoch."""
    metrics = _union(metrics_of(run.history) for run in runs.values())
    columns = (*LOSSES, *metrics)
    rows = []
    for name, run in runs.items():
        last = run.history.rows[-1] if run.history.rows else {}
        numbers = [_number(last.get(column)) for column in columns]
        rows.append((name, len(run.history.rows), *numbers, run.config.get("data", "-")))
    return table(("run", "epochs", *columns, "data"), rows)


def _different_options(runs: Mapping[str, Run]) -> list[tuple[str, ...]]:
    """A row for each option whose values differ: its name, and what each run has."""
    rows = []
    for name in _union(run.options for run in runs.values()):
        values = [_text(run.config.get(name)) for run in runs.values()]
        if len(set(values)) > 1:
            rows.append((name, *values))
    return rows


def _fault_counts(runs: Mapping[str, Run]) -> list[tuple[Any, ...]]:
    """A row for each kind of fault: its name, and each run's count."""
    faults = [count_faults(run) for run in runs.values()]
    return [(kind, *(found.get(kind, "-") for found in faults)) for kind in _union(faults)]


def _union(parts: Iterable[Iterable[str]]) -> list[str]:
    """What is in any of the parts, once, in the order of its first place."""
    return list(dict.fromkeys(chain.from_iterable(parts)))


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
    matrix = validation.confusion()
    names = _names(classes, len(matrix))
    parts = []
    if len(matrix) <= MATRIX:
        parts.append(element("p", "A row for each class, a column for what it is taken for."))
        parts.append(_matrix(matrix, names))
    parts.append(table(("class", "taken for", "images"), _most_confused(matrix, names)))
    return parts


def _matrix(matrix: np.ndarray, names: tuple[str, ...]) -> Markup:
    """The confusion matrix; a cell is the darker, the greater its share of the row."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    columns, rows = (*names, NONE)[: matrix.shape[1]], []
    for i, name in enumerate(names):
        cells = [_cell(matrix[i, j], share[i, j], right=i == j) for j in range(len(columns))]
        rows.append((element("th", name, scope="row"), *cells))
    return table(("", *columns), rows, class_="matrix")


def _most_confused(matrix: np.ndarray, names: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """(class, what it is taken for, images), the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]:
        i, j = np.unravel_index(place, wrong.shape)
        if wrong[i, j]:
            rows.append((names[i], (*names, NONE)[j], wrong[i, j]))
    return rows


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
        shown = image(pixels_to_png(pixels), kind="image/png", alt=alt)
        tiles.append(element("figure", shown, caption))
    return element("div", *tiles, class_="tiles")


def _summary(run: Run) -> str:
    best = best_row(run.history, metrics := metrics_of(run.history))
    what = f"{run.config.get('model', 'model')} on {run.config.get('dataset', 'data')}"
    if best is None:
        return f"{what}; no epoch has ended with finite figures yet."
    figures = ", ".join(f"{name} {_number(best[name])}" for name in ("valid_loss", *metrics))
    what += f", {counted(len(run.history.rows), 'epoch')}"
    return f"{what}. Best, epoch {best['epoch']}: {figures}."


def _epochs(run: Run) -> list[Markup]:
    columns = ("epoch", *LOSSES, *metrics_of(run.history))
    rows = [[_number(row.get(c)) for c in columns] for row in run.history.rows]
    return [table(columns, rows), element("p", FOOT)]


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


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
