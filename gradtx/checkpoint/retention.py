"""Which checkpoints stay."""

from collections.abc import Mapping
from pathlib import Path

from gradtx.checkpoint.errors import CheckpointError
from gradtx.checkpoint.layout import Entry, entries, remove
from gradtx.checkpoint.meta import read_meta
from gradtx.sealed import Damaged


def retained(scores: Mapping[Entry, float | None]) -> set[Entry]:
    """The newest and the best; if these are one, the one before it too.

    So there are always two to go back to, once there have been two. Of equally good ones the newest
    is the best; without scores the two newest stay.

    >>> a, b, c = Entry(1, 10), Entry(2, 20), Entry(3, 30)
    >>> sorted(e.step for e in retained({a: 0.9, b: 0.5, c: 0.7}))
    [10, 30]
    >>> sorted(e.step for e in retained({a: 0.1, b: 0.5, c: 0.7}))
    [20, 30]
    """
    order = sorted(scores)
    scored = [(scores[entry], entry) for entry in order if scores[entry] is not None]
    best = {max(scored)[1]} if scored else set()  # pyright: ignore[reportArgumentType]
    keep = {*order[-1:], *best}
    return keep if len(keep) > 1 else {*order[-2:]}


def remove_others(directory: Path) -> None:
    """Remove all checkpoints but the `retained` ones."""
    scores = {}
    for entry in entries(directory):
        try:
            scores[entry] = read_meta(entry.path(directory)).score
        except (Damaged, CheckpointError):
            continue  # not to be counted on; it goes
    if scores:
        keep = retained(scores)
        for entry in entries(directory):
            if entry not in keep:
                remove(directory, entry)
