"""What a run was made with: versions and device."""

from collections.abc import Mapping
from typing import Any

from gradtx.drawing.markup import Markup, table
from gradtx.report.run import Run
from gradtx.report.sections.frame import note, section, text
from gradtx.report.sections.options import by_run

NOT_KNOWN = "Not known: config.json does not say."


def versions(run: Run) -> Markup:
    """The versions of the libraries, and the device.

    Args:
        run: the run.
    """
    found = _made_with(run)
    shown = table(("of", "version"), found.items(), class_="config") if found else note(NOT_KNOWN)
    return section("Versions and device", shown)


def compared_versions(runs: Mapping[str, Run]) -> Markup:
    """The same of several runs, side by side.

    Args:
        runs: the runs by name.
    """
    each = [_made_with(run) for run in runs.values()]
    shown = by_run("of", runs, each) if any(each) else note(NOT_KNOWN)
    return section("Versions and device", shown)


def _made_with(run: Run) -> dict[str, str]:
    """The entries of config.json about it, those of an object one by one."""
    found: dict[str, Any] = {"jax": run.config["jax"]} if "jax" in run.config else {}
    for name in ("versions", "device"):
        entries = run.config.get(name, {})
        if isinstance(entries, Mapping):
            of = f"{name}: " if name == "device" else ""
            found |= {f"{of}{key}": value for key, value in entries.items()}
        else:
            found[name] = entries
    return {name: text(value) for name, value in found.items()}
