"""A file of metrics: lines that are a chain of digests, read, cut short, and appended to."""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradtx.files import Appending, write_atomically
from gradtx.loop import Level, TrainState
from gradtx.observers.step_logs import map_values
from gradtx.sealed import DIGEST, Chain, Damaged, parse_object, read_text, text_lines

OPENING = '{"kind": '
MOST = 2**63  # below which whole numbers are those of NumPy


class MetricsError(ValueError):
    """A file of metrics has a line that is not of the form that `jsonl` writes."""


@dataclass
class MetricsFile:
    """A file of lines that are a chain: the end of it is cut off, and lines are appended."""

    path: Path
    chain: Chain = field(default_factory=Chain)
    last: dict[str, Any] = field(default_factory=dict)  # the last line when a fit begins

    def __post_init__(self) -> None:
        self.file = Appending(self.path)

    def rewind(self, state: TrainState, records: Iterable[dict[str, Any]] | None = None) -> None:
        """Drop what a fit that goes on from `state` will write (again)."""
        self.file.waiting, self.chain, self.last = [], Chain(), {}
        there, kept, ended = self.path.exists(), bytearray(), False
        if records is None:
            records = each(self.path) if there else []
        step, inside = int(state.step), int(state.level) > Level.FIT

        def past(record: dict[str, Any]) -> bool:
            # The epoch's line comes after its last step: inside an epoch it is still to be written.
            closing = record["kind"] == "epoch" and not inside
            return record["step"] < step or (closing and record["step"] == step)

        for record in records:  # to the end, since damage there is an error too
            ended = ended or not past(record)
            if not ended:
                kept += self._seal(record)
                self.last = record
        if kept or there:
            write_atomically(self.path, bytes(kept))

    def gap(self, state: TrainState) -> str:
        """What is missing between the last line and a fit that goes on from `state`."""
        step, inside = int(state.step), int(state.level) > Level.FIT
        done = self.last.get("step", -1) + (self.last.get("kind") == "step")
        if not step or (done == step and (inside or self.last["kind"] == "epoch")):
            return ""
        return (
            f"{self.path} has no lines from step {max(done, 0)} to step {step}, from which the"
            " fit goes on; they were lost, or never written (the members of a search have none)"
        )

    def add(self, records: Iterable[dict[str, Any]] = ()) -> None:
        """Append lines; what fails, with an OSError, waits for the next call."""
        self.file.write(map(self._seal, records))

    def try_to_add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append lines; what fails waits for the next call."""
        self.file.try_to_write(map(self._seal, records))

    def _seal(self, record: dict[str, Any]) -> bytes:
        finite = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x
        return self.chain.seal(map_values(finite, record))


def each(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, one at a time; what a killed process left of the last is none of them.

    Raises:
        MetricsError: at the first line that is not as it was written, naming it.
    """
    chain, before, number = Chain(), None, 0
    # A byte that is no text becomes an escape, which is no JSON: the line is refused, shown.
    lines = text_lines(path, "backslashreplace")
    while True:
        try:
            line = next(lines, "")
        except Damaged as damage:
            raise _error(path, str(damage)) from damage
        # A process that is killed leaves part of a line.
        if not line.endswith("\n") and OPENING.startswith(line[: len(OPENING)]):
            return
        number += 1
        record = _parse(line)
        if record is None:
            raise _error(path, f"{line.strip()[:60]!r} in line {number}")
        sealed = DIGEST in record or bool(chain.last)
        if not chain.follows(record) and sealed:
            raise _error(path, f"line {number} that was altered, or stood elsewhere")
        if before is not None and not _is_later(record, before):
            raise _error(path, f"line {number} out of its order")
        yield record
        before = record


def end_of(path: Path) -> str:
    """The digest of the last line of a file, which is one of all lines; "" if it has none."""
    last = ""
    with suppress(Damaged):
        for line in text_lines(path, "backslashreplace"):
            last = line if line.endswith("\n") else last
        return str(parse_object(last).get(DIGEST, "")) if last else ""
    return ""


def intact(path: Path) -> list[dict[str, Any]]:
    """The lines of a damaged file that follow the line before, in their order."""
    try:
        lines = read_text(path, "backslashreplace").split("\n")
    except Damaged:
        return []
    kept, chain = [], Chain()
    for record in filter(None, map(_parse, lines)):
        sealed = DIGEST in record
        follows = chain.follows(record) or not sealed
        if follows and (not kept or _is_later(record, kept[-1])):
            kept.append(record)
    return kept


def _is_later(record: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a line may stand after another; an epoch's `step` counts those done."""
    number = lambda r: (r["step"] - (r["kind"] == "epoch"), r["kind"] == "epoch")
    empty = number(record) == number(other) and record.get("epoch") != other.get("epoch")
    return number(record) > number(other) or empty


def _parse(line: str) -> dict[str, Any] | None:
    """The object of a line; None if it is not of the form that `jsonl` writes."""
    try:
        record = parse_object(line)
    except Damaged:
        return None
    whole = lambda name: type(record.get(name)) is int and 0 <= record[name] < MOST
    values = {name: x for name, x in record.items() if name not in ("kind", DIGEST)}
    right = record.get("kind") in ("step", "epoch") and whole("step")
    right = right and ("epoch" not in record or whole("epoch")) and _are_numbers(values)
    return record if right else None


def _are_numbers(values: dict[str, Any]) -> bool:
    """Whether all values are numbers or null, lists of such, or either by group."""
    of = lambda x: [*x.values()] if isinstance(x, dict) else [x]
    return all(_is_number(x) for value in values.values() for x in of(value))


def _is_number(value: Any) -> bool:
    if type(value) is float:  # most are
        return True
    if isinstance(value, list):
        return all(map(_is_number, value))
    whole = isinstance(value, int) and -MOST <= value < MOST
    return value is None or isinstance(value, float) or whole


def _error(path: Path, got: str) -> MetricsError:
    return MetricsError(
        f"jsonl: {path} must have the lines that `jsonl` writes; got {got}. Put it back as it was,"
        " move it away, or write to another path."
    )
