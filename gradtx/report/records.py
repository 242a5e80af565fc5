"""Metrics of any writer: JSON objects, one a line, whatever their fields are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.loop import History
from gradtx.output import counted
from gradtx.sealed import DIGEST, Damaged, parse_object

PLACES = ("step", "global_step", "_step", "iteration", "iter", "epoch")  # where a line stands
EPOCHS = ("epoch", "valid", "validation", "eval")  # of its field `kind`
NOT_FINITE = ("nan", "inf", "-inf", "+inf", "infinity", "-infinity")


@dataclass
class Foreign:
    """Metrics that gradtx has not written, as far as they can be read.

    Args:
        history: their numbers; `step` is where each line stands.
        axis: what that is: the name of a field, or "line".
        notes: in words, what has been left out.
        not_finite: how many values of a field are there, but are NaN, infinite or null.
    """

    history: History
    axis: str
    notes: list[str]
    not_finite: dict[str, int]


@dataclass
class _Fields:
    """What is found in lines, field by field."""

    left_out: dict[str, str] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)

    def numbers(self, record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """The numbers of a line by name; those of an object within it by NAME/PART."""
        found: dict[str, Any] = {}
        for key, value in record.items():
            name = prefix + str(key)
            if isinstance(value, Mapping):
                found |= self.numbers(value, name + "/")
            elif isinstance(value, list):
                found[name] = value
            elif isinstance(value, str) and value.strip().lower() not in NOT_FINITE:
                self.left_out.setdefault(name, "text")
            else:
                found[name] = _number(value)
                if not math.isfinite(found[name]):
                    self.not_finite[name] = self.not_finite.get(name, 0) + 1
        return found


def _number(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def is_sealed(path: Path) -> bool:
    """Whether a line of a file has a digest: then gradtx wrote it, and it is as it was or damaged.

    Args:
        path: the file.
    """
    with path.open("rb") as file:
        return any(b'"%s"' % DIGEST.encode() in line for line in file)


def read_foreign(path: Path) -> Foreign:
    """Read metrics that anything may have written.

    Args:
        path: the file; lines that are no JSON objects are left out.

    Raises:
        Damaged: if no line is one.
    """
    fields, bad, records = _Fields(), [], []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                records.append((number, parse_object(line)))
            except Damaged:
                if line.strip():
                    bad.append((number, line))
    if bad and not records:
        raise Damaged(f"{bad[0][1].strip()[:60]!r} in line {bad[0][0]}")
    axis = next((name for name in PLACES if any(name in record for _, record in records)), "line")
    steps, rows, at = [], [], 0.0
    for number, record in records:
        values = fields.numbers({k: v for k, v in record.items() if k != "kind"})
        place = float(number) if axis == "line" else values.pop(axis, at)
        # A line without a place stands where the one before it does.
        at = place if isinstance(place, float) and math.isfinite(place) else at
        (rows if record.get("kind") in EPOCHS else steps).append({"step": at} | values)
    names = dict.fromkeys(name for values in steps for name in values)
    lists = [name for name in names if any(isinstance(v.get(name), list) for v in steps)]
    fields.left_out |= dict.fromkeys(lists, "lists")
    columns = {
        name: np.array([values.get(name, math.nan) for values in steps], float)
        for name in names
        if name not in lists
    }
    notes = _notes(path, bad, records[-1][0] if records else 0, fields)
    return Foreign(History(rows, columns), axis, notes, fields.not_finite)


def _notes(path: Path, bad: list[tuple[int, str]], last: int, fields: _Fields) -> list[str]:
    notes = []
    if bad and bad[-1][0] > last:
        number, _ = bad.pop()
        notes.append(f"The last line of {path.name}, {number}, is cut short; it is left out.")
    if bad:
        lines = counted(len(bad), "line")
        notes.append(
            f"{lines} of {path.name} cannot be read and are left out; the first is line"
            f" {bad[0][0]}: {bad[0][1].strip()[:60]!r}."
        )
    if fields.left_out:
        named = ", ".join(f"{name} ({kind})" for name, kind in [*fields.left_out.items()][:20])
        more = ", ..." if len(fields.left_out) > 20 else ""
        notes.append(f"Fields that have no curve, since they are no numbers: {named}{more}.")
    if fields.not_finite:
        named = ", ".join(f"{name} ({n:,})" for name, n in [*fields.not_finite.items()][:20])
        notes.append(f"Values that are NaN, infinite or null, and are left out: {named}.")
    return notes
