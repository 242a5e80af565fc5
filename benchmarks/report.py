"""Render what the benchmarks have written as the tables of README.md in this directory.

    python -m benchmarks.report

Reads results/*.json and replaces what stands between the two marks in README.md; nothing else of
the file changes.
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- begin: benchmarks.report -->", "<!-- end: benchmarks.report -->"
VERDICT = {True: "yes", False: "**no**", None: ""}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*", help="JSON files (default: results/*.json)")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    return parser.parse_args(argv)


def table(columns, rows):
    """A Markdown table; a cell must not break it.

    >>> print(table(["what", "n"], [["a|b", 1]]))
    | what | n |
    |---|---|
    | a\\|b | 1 |
    """
    safe = lambda cell: str(cell).replace("|", "\\|")
    line = lambda cells: f"| {' | '.join(map(safe, cells))} |"
    return "\n".join([line(columns), "|" + "---|" * len(columns), *map(line, rows)])


def targets(results):
    """All rows of all results."""
    cells = [
        [result["benchmark"], *figure(row), row["note"]]
        for result in results
        for row in result["rows"]
    ]
    return table(["benchmark", "what", "target", "reached", "met", "beside it"], cells)


def figure(row):
    """What was measured, the target, what was reached, and whether that is enough."""
    return [row["what"], row["target"] or "", row["reached"], VERDICT[row["met"]]]


def commands(results):
    """How and where each result was made."""
    cells = []
    for result in results:
        load = "-".join(f"{x:.0f}" for x in sorted(result["load_average"])[::2])
        device = "" if result["device"] == "cpu" else f", {result['device']}"
        settings = " ".join(f"`{k}={v}`" for k, v in result["settings"].items())
        cells.append(
            [
                result["benchmark"],
                f"`{result['command']}`",
                result.get("commit", ""),
                f"{result['cpu']}, {result['cpus']} cores{device}; load {load}",
                ", ".join(f"{k} {v}" for k, v in result["versions"].items() if k != "jaxlib"),
                settings,
            ]
        )
    return table(["benchmark", "command", "commit", "machine", "versions", "settings"], cells)


def accelerators(results):
    """A table for each device that `benchmarks.accelerator` has run on."""
    parts = ["## Accelerators"]
    for result in results:
        cells = [[row["section"], *figure(row)] for row in result["rows"]]
        versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        parts += [
            f"### {result['device']}",
            table(["section", "what", "target", "reached", "met"], cells),
            f"`{result['command']}`; commit {result.get('commit', '')}; {versions}.",
        ]
    return "\n\n".join(parts) if results else "No accelerator has been measured by this command."


def render(results, on_accelerators=()):
    """What stands between the marks."""
    parts = [BEGIN, targets(results), commands(results), accelerators(on_accelerators), END]
    return "\n\n".join(parts)


def replaced(text, new):
    """`text` with what its marks enclose, and the marks, replaced by `new`.

    Raises:
        ValueError: if the marks are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"report: the file must hold `{BEGIN}` and, after it, `{END}`, once each.")
    return text[: text.index(BEGIN)] + new + text[text.index(END) + len(END) :]


def main(argv=None):
    args = parse(argv)
    files = args.files or sorted((HERE / "results").glob("*.json"))
    results = [json.loads(path.read_text()) for path in files]
    old = args.readme.read_text()
    found = [
        json.loads(x.read_text()) for x in sorted((HERE / "results/accelerator").glob("*.json"))
    ]
    new = replaced(old, render(results, found))
    if not args.check:
        args.readme.write_text(new)
    print(f"report: {args.readme} {'is up to date' if old == new else 'differs'}")
    return 1 if args.check and old != new else 0


if __name__ == "__main__":
    raise SystemExit(main())
