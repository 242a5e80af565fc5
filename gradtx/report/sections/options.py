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
    parts = [note("The runs have the same options, as far as they are known.")]
    if different:
        each = [{name: values[name][i] for name in different} for i in range(len(runs))]
        parts = [by_run("option", runs, each)]
    if same := [(name, values[name][0]) for name in names if name not in different]:
        shown = table(("option", "value"), same, class_="config")
        folded_away = f"{counted(len(same), 'option')} with one value in all runs"
        parts.append(folded(folded_away, shown))
    return section("Options that differ", *parts)


def by_run(head: str, runs: Mapping[str, Run], each: Sequence[Mapping[str, object]]) -> Markup:
    """A table with a column for each run, which the page can hide; "-" where a run has no value.

    Args:
        head: of the first column.
        runs: the runs by name.
        each: of each run its values, by the name of the row.
    """
    heads = (element("th", run_name(name, i), data_run=i) for i, name in enumerate(runs))
    cell = lambda i, value: element("td", element("bdi", value), data_run=i)
    names = dict.fromkeys(name for found in each for name in found)
    rows = [
        (name, *(cell(i, found.get(name, "-")) for i, found in enumerate(each))) for name in names
    ]
    return table((head, *heads), rows, class_="config")
