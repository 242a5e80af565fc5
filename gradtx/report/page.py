"""The page of one run, and the page that compares several: which sections they have."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gradtx.drawing.markup import Markup, element
from gradtx.files import as_path, write_atomically
from gradtx.kinds import checked
from gradtx.output import counted
from gradtx.report.curves import best_by, best_row, metrics_of
from gradtx.report.html import chips, page
from gradtx.report.run import Run, read_run
from gradtx.report.sections.classes import by_class, logged_by_class
from gradtx.report.sections.confusion import confusions, logged_confusions
from gradtx.report.sections.curves import compared_curves, curves, others
from gradtx.report.sections.epochs import epochs, last_epochs
from gradtx.report.sections.faults import compared_faults, faults, missing
from gradtx.report.sections.frame import number, section
from gradtx.report.sections.health import health
from gradtx.report.sections.lineage import lineage
from gradtx.report.sections.options import configuration, differing
from gradtx.report.sections.searches import by_options, sweep
from gradtx.report.sections.times import compared_times, times
from gradtx.report.sections.versions import compared_versions, versions
from gradtx.report.sections.worst import worst


@checked
def write_report(directory: str | Path) -> Path:
    """Write the page of a run, DIRECTORY/report.html, and return its path.

    Args:
        directory: with a metrics.jsonl, of a run that has ended, is under way, or was written by
            something else than gradtx; or with a sweep.json or lineage.json.

    Raises:
        ValueError: if the directory has none of these, or a file of it is damaged.
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
    head = [element("p", _summary(run))]
    if run.augmentation:
        head.append(element("p", f"Training images: {run.augmentation}."))
    has_metrics = run.history.rows or run.history.steps or not (run.sweep or run.lineage)
    predictions = _validation(run)
    sections = [
        *missing({run.name: run}),
        *(sweep(run)),
        *(lineage(run)),
        *([curves(run)] if has_metrics else []),
        *([epochs(run)] if has_metrics and (run.history.rows or run.foreign is None) else []),
        *predictions,
        *logged_by_class(run),
        *([] if predictions else logged_confusions(run)),
        *health(run),
        *times(run),
        *([faults(run)] if has_metrics or run.faults else []),
        *others(run),
        configuration(run),
        versions(run),
    ]
    return page(run.name, sections, head=head)


def _validation(run: Run) -> list[Markup]:
    """What the predictions of validation images show: there the confusions need no metric."""
    found = run.validation
    if found is None or not len(found.labels):
        return []
    return [
        by_class(found, run.classes),
        section("Confusions", *confusions(found, run.classes)),
        section("Most wrong", worst(found, run.classes)),
    ]


@checked
def comparison_page(runs: Mapping[str, Run]) -> str:
    """The page that compares runs, as text.

    Args:
        runs: the runs by the names that the page gives them, one at least.
    """
    sections = [
        *missing(runs),
        last_epochs(runs),
        differing(runs),
        *by_options(runs),
        compared_curves(runs),
        *compared_times(runs),
        compared_faults(runs),
        compared_versions(runs),
    ]
    title = " and ".join(runs) if len(runs) < 3 else f"{len(runs)} runs"
    return page(title, sections, head=[chips(runs)])


def _summary(run: Run) -> str:
    """The run in a sentence or two."""
    if run.foreign is not None:
        lines = max((len(y) for y in run.history.steps.values()), default=0)
        lines += len(run.history.rows)
        return f"{counted(lines, 'line')} of metrics, written by another program than gradtx."
    config = run.config
    what = f"{config['model']} on {config.get('dataset', 'data')}" if "model" in config else "A run"
    if run.sweep is not None or run.lineage is not None:
        return f"{what}: a search, of which the members are shown."
    best = best_row(run.history, metrics := metrics_of(run.history))
    if best is None:
        return f"{what}; no epoch has ended with finite figures yet."
    figures = ", ".join(f"{name} {number(best.get(name))}" for name in ("valid_loss", *metrics))
    what += f", {counted(len(run.history.rows), 'epoch')}"
    key, most = best_by(metrics)
    by = f"by the {'greatest' if most else 'least'} {key}"
    return f"{what}. Best epoch, {by}, is {best.get('epoch', '-')}: {figures}."
