"""What went wrong, counted, and what is not there."""

from collections.abc import Mapping
from typing import Any

from gradtx.drawing.markup import Markup, element, table
from gradtx.report.run import Run, count_faults
from gradtx.report.sections.frame import long_table, section
from gradtx.report.sections.options import by_run


def faults(run: Run) -> Markup:
    """The counts of faults, and the images that could not be read.

    Args:
        run: the run.
    """
    rows = [(kind, _bad(count)) for kind, count in count_faults(run).items()]
    parts = [table(("kind", "count"), rows)]
    if run.skipped:
        images = [(s["split"], s["index"], s["why"]) for s in run.skipped]
        parts += long_table(("split", "image", "why"), images, class_="config")
    return section("Faults", *parts)


def compared_faults(runs: Mapping[str, Run]) -> Markup:
    """The counts of faults of several runs.

    Args:
        runs: the runs by name.
    """
    each = [count_faults(run) for run in runs.values()]
    return section("Faults", by_run("kind", runs, each))


def missing(runs: Mapping[str, Run]) -> list[Markup]:
    """What is not there or could not be read, in words.

    Args:
        runs: the runs by name.
    """
    items = []
    for name, run in runs.items():
        of = [element("bdi", name), ": "] if len(runs) > 1 else []
        if of and run.missing:
            items.append(element("li", *of, " ".join(run.missing)))
        else:
            items += [element("li", line) for line in run.missing]
    return [section("What is missing", element("ul", *items, class_="note"))] if items else []


def _bad(count: Any) -> Any:
    return element("td", count, class_="bad") if count else count
