"""Write docs/laws.md and the scripts beside it from what is known."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradtx.testing.law import LAWS
from tools.law_table.examine import results_of
from tools.law_table.field import LEFT_OUT, PACKAGES, Entry, entries
from tools.law_table.script import runs, script

PAGE, SCRIPTS = Path("docs/laws.md"), Path("docs/laws")
TABLE = SCRIPTS / "table.json"
HEAD = """# The laws of the field

Every law of the [testing kit](testing.md) against the transformations of {packages}. It is made by
`python -m tools.law_table`, which tries what is not known yet with the profile "quick".

✓ holds, ✗ does not, and leads to a counterexample: a script that needs JAX, NumPy and the package
alone, and ends with an error as long as it is so. A point: the law is about something that the row
does not claim. What Optax breaks is described in [the defects found in Optax](known.md). The
columns are the laws in the order of the list below the tables.
"""


def write_page(folder: Path) -> None:
    """Write the page, its table as JSON, and a script for each failing cell that has none yet."""
    old = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    made: dict[str, Any] = {}
    for entry in entries():
        laws = results_of(folder, entry) if entry.installed else {}
        if not laws:
            if entry.name in old:
                made[entry.name] = old[entry.name]
            continue
        holds = {name: found["holds"] for name, found in laws.items() if name in LAWS}
        made[entry.name] = {"package": entry.package, "version": entry.version, "laws": holds}
        for name, found in laws.items():
            if not found["holds"]:
                write_script(entry, name, found)
    wanted = {SCRIPTS / path_of(name, law) for name, law in failing(made)}
    for path in SCRIPTS.glob("*.py"):
        if path not in wanted:
            path.unlink()
    TABLE.write_text(json.dumps(made, indent=1) + "\n")
    PAGE.write_text(page(made))


def write_script(entry: Entry, law: str, found: Mapping[str, Any]) -> None:
    """Write one counterexample, after a look at whether it is one."""
    path, text = SCRIPTS / path_of(entry.name, law), script(entry, law, found)
    if path.exists() and path.read_text() == text:
        return
    if not runs(text):
        print(f"{path}: ends without an error; the cell has no script that shows it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def path_of(name: str, law: str) -> str:
    """The file of a counterexample, from the folder of the scripts."""
    return f"{re.sub(r'[^a-z0-9_]+', '_', name)}-{law}.py"


def failing(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The cells of laws that do not hold: (transformation, law)."""
    rows = table.items()
    return [(name, law) for name, row in rows for law, holds in row["laws"].items() if not holds]


def page(table: Mapping[str, Any]) -> str:
    """The text of docs/laws.md."""
    laws = [law for law in LAWS if any(law in row["laws"] for row in table.values())]
    versions = {row["package"]: row["version"] for row in table.values()}
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [HEAD.format(packages=named)]
    for package in dict.fromkeys(PACKAGES.values()):
        rows = {name: row for name, row in table.items() if row["package"] == package}
        if rows:
            parts.append(f"\n## {package} {versions[package]}\n\n" + _table(rows, laws))
    broken = lambda law: sum(row["laws"].get(law) is False for row in table.values())
    tried = lambda law: sum(law in row["laws"] for row in table.values())
    parts.append("\n## The laws\n\n| | Law | Tried | Broken | What should hold |")
    parts.append("|---|---|---|---|---|")
    for i, law in enumerate(laws, 1):
        first = (LAWS[law].check.__doc__ or "").splitlines()[0]
        parts.append(f"| {i} | `{law}` | {tried(law)} | {broken(law)} | {first} |")
    parts.append("\n## What has no row\n")
    parts += [f"- `{name}`: {why}" for name, why in LEFT_OUT.items()]
    return "\n".join(parts) + "\n"


def _table(rows: Mapping[str, Any], laws: Sequence[str]) -> str:
    head = "| | " + " | ".join(str(i) for i in range(1, len(laws) + 1)) + " |"
    lines = [head, "|---" * (len(laws) + 1) + "|"]
    for name, row in sorted(rows.items()):
        cells = [_cell(name, law, row["laws"].get(law)) for law in laws]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, law: str, holds: bool | None) -> str:
    if holds is None:
        return "·"
    return "✓" if holds else f'[✗](laws/{path_of(name, law)} "{law}")'
