"""The counts of faults that a run leaves at its end, with the digest of its metrics."""

from collections.abc import Mapping
from pathlib import Path

from gradtx.observers.metrics_file import end_of
from gradtx.sealed import Damaged, read_json, write_json

METRICS = "metrics.jsonl"


def write_faults(faults: Mapping[str, int], out: Path) -> None:
    """Write faults.json: how many of each kind, and the digest that the metrics end with.

    Args:
        faults: the counts, by kind.
        out: the directory of the run, which has ended.
    """
    write_json(out / "faults.json", {**faults, METRICS: end_of(out / METRICS)}, indent=None)


def read_faults(out: Path) -> dict[str, int]:
    """The counts of faults that `write_faults` has written.

    Args:
        out: the directory of the run.

    Raises:
        Damaged: if the file is damaged, or if the metrics are not those that the run ended with.
    """
    found = read_json(out / "faults.json")
    end = found.pop(METRICS, "")
    if not all(type(count) is int and count >= 0 for count in found.values()):
        raise Damaged("one with other entries than counts")
    if end and end != end_of(out / METRICS):
        raise Damaged(
            f"the end of a run with another {METRICS}, which has lost lines or goes on since"
        )
    return found
