"""Options: all of one run, and of several those that differ."""

from collections.abc import Mapping, Sequence

from gradtx.drawing.markup import Markup, element, table
from gradtx.output import counted
from gradtx.report.run import Run
from gradtx.report.sections.epochs import run_name
from gradtx.report.sections.frame import folded, note, section, text


def configuration(run: Run) -> Markup:
    """All options of a run.

    Args:
        run: the run.
    """
    if not run.options:
        return section("Configuration", note("Not known."))
    given = {name: x for name, x in run.options.items() if x not in (None, [], "")}
    rows = [(name, element("td", element("bdi", text(x)))) for name, x in given.items()]
    parts = [table(("option", "value"), rows, class_="config")]
    if unset := [name for name in run.options if name not in given]:
        parts.append(folded(f"{len(unset)} without a value", note(", ".join(unset) + ".")))
    return section("Configuration", *parts)


def differing(runs: Mapping[str, Run]) -> Markup:
    """A row for each option whose values differ, and folded away those that are the same.

    Args:
        runs: the runs by name.
    """
    names = [*dict.fromkeys(name for run in runs.values() for name in run.options)]
    values = {name: [text(run.config.get(name)) for run in runs.values()] for name in names}
    different = [name for name in names if len(set(values[name])) > 1]
    parts = [by_run("option", runs, {name: values[name] for name in different})]
    if not different:
        parts = [note("The runs have the same options, as far as they are known.")]
    if same := [(name, values[name][0]) for name in names if name not in different]:
        shown = table(("option", "value"), same, class_="config")
        folded_away = f"{counted(len(same), 'option')} with one value in all runs"
        parts.append(folded(folded_away, shown))
    return section("Options that differ", *parts)


def by_run(head: str, runs: Mapping[str, Run], rows: Mapping[str, Sequence[object]]) -> Markup:
    """A table with a column for each run, which the page can hide.

    Args:
        head: of the first column.
        runs: the runs by name.
        rows: of each row its name, and a value for each run.
    """
    names = (element("th", run_name(name, i), data_run=i) for i, name in enumerate(runs))
    cells = [
        (name, *(element("td", element("bdi", x), data_run=i) for i, x in enumerate(values)))
        for name, values in rows.items()
    ]
    return table((head, *names), cells, class_="config")
