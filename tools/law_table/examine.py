"""Try the laws on one entry; what comes of it is kept law by law, so a run can be resumed."""

import json
import traceback
from pathlib import Path
from typing import Any

import jax

from gradtx.testing.check import applicable, make_subject
from gradtx.testing.code import expression
from gradtx.testing.promotion import rules
from gradtx.testing.search import Profile, find_counterexample
from tools.law_table.field import Entry

# Arguments of laws that have no code, or that the claims say already.
HIDDEN = {"rebuilt", "mask", "rule", "reference"}


def results_of(folder: Path, entry: Entry) -> dict[str, Any]:
    """What is known of an entry at its package's present version: {law: {...}}, or {}."""
    path = folder / f"{entry.slug}.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    return found["laws"] if found["version"] == entry.version else {}


def examine(folder: Path, entry: Entry) -> dict[str, Any]:
    """Try the laws that are not known yet, writing after each; returns all of them by name."""
    known = results_of(folder, entry)
    claims = dict(entry.claims)
    extra, templates = claims.pop("extra_args", None), claims.pop("templates", None)
    given = entry.factory if claims.get("hyperparams") else entry.factory()
    subject = make_subject(given, extra, claims)
    for law in applicable(subject):
        if law.name in known:
            continue
        first = subject.wrapped_factory if law.of_factory else subject.tx
        constant = law.arguments(subject)
        with rules("law_table", "standard"):
            found = find_counterexample(
                law,
                first,
                constant,
                subject.claims,
                Profile.named("law_table", "quick"),
                0,
                templates,
            )
        known[law.name] = {"holds": found is None}
        if found is not None:
            violation, arguments = found
            given = {k: v for k, v in arguments.items() if k not in HIDDEN}
            code = {k: expression(v) for k, v in given.items() if k != "grads"}
            known[law.name] |= {
                "details": violation.details,
                "arguments": code | {"grads": [expression(g) for g in arguments["grads"]]},
            }
        write(folder, entry, known)
        if law.name == "returns" and found is not None:
            break
    return known


def write(folder: Path, entry: Entry, laws: dict[str, Any]) -> None:
    """Keep what is known of an entry."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"name": entry.name, "version": entry.version, "laws": laws}, indent=1)
    (folder / f"{entry.slug}.json").write_text(text + "\n")


def attempt(folder: Path, entry: Entry) -> str:
    """`examine`, with one line on what came of it."""
    jax.clear_caches()
    try:
        laws = examine(folder, entry)
    except Exception:
        return f"{entry.name}: not tried\n{traceback.format_exc()}"
    broken = [name for name, found in laws.items() if not found["holds"]]
    return f"{entry.name}: {len(laws) - len(broken)} hold, {len(broken)} do not {broken}"
