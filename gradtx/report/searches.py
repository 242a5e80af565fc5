"""What a search has left: sweep.json of copies side by side, lineage.json of members by rounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def columns_of(sweep: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The columns of a sweep, the hyperparameter first: float[n] each, NaN for what is null.

    Args:
        sweep: the entries of sweep.json.
    """
    lists = {name: x for name, x in sweep.items() if isinstance(x, list)}
    return {name: floats(values) for name, values in lists.items()}


def is_sweep(entries: Mapping[str, Any]) -> bool:
    """Whether entries are those of a sweep: lists of numbers, equally long, and the best copy.

    Args:
        entries: of sweep.json.
    """
    lists = [x for x in entries.values() if isinstance(x, list)]
    best = entries.get("best")
    return (
        bool(lists)
        and len({len(x) for x in lists}) == 1
        and all(_is_number(x) for values in lists for x in values)
        and (best is None or (type(best) is int and 0 <= best < len(lists[0])))
    )


def is_lineage(entries: Mapping[str, Any]) -> bool:
    """Whether entries are those of a lineage: rounds that fit its number of members.

    Args:
        entries: of lineage.json.
    """
    count, rounds = entries.get("members"), entries.get("rounds")
    if type(count) is not int or count < 1 or not isinstance(rounds, list):
        return False
    return all(isinstance(each, Mapping) and _is_round(each, count) for each in rounds)


def _is_round(entries: Mapping[str, Any], count: int) -> bool:
    parents, values = entries.get("parents"), entries.get("hyperparams", {})
    place = lambda x: type(x) is int and -1 <= x < count
    return (
        type(entries.get("step")) is int
        and _is_row(parents, count, place)
        and _is_row(entries.get("near", parents), count, place)
        and _is_row(entries.get("scores"), count, _is_number)
        and isinstance(values, Mapping)
        and all(_is_row(row, count, _is_number) for row in values.values())
    )


def _is_row(values: Any, count: int, right: Any) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(right, values))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _or_nan(value: Any) -> float:
    return np.nan if value is None else float(value)


def floats(values: Sequence[Any]) -> np.ndarray:
    """Numbers of JSON, NaN for null.

    Args:
        values: the numbers.
    """
    return np.array([_or_nan(x) for x in values], float)


def line_of(lineage: Mapping[str, Any], member: int) -> dict[int, int]:
    """Round -> member, of those that a member of the last round comes from.

    Args:
        lineage: the entries of lineage.json.
        member: of the last round.
    """
    found = {}
    for number in range(len(lineage["rounds"]) - 1, -1, -1):
        found[number] = member
        member = lineage["rounds"][number]["parents"][member]
        if member < 0:
            break
    return found


def best_member(lineage: Mapping[str, Any]) -> int | None:
    """The best member of the last round, if the lineage says what is better, and one has a score.

    Args:
        lineage: the entries of lineage.json.
    """
    sign = {"max": 1, "min": -1}.get(str(lineage.get("mode")))
    if sign is None or not lineage["rounds"]:
        return None
    scores = sign * floats(lineage["rounds"][-1]["scores"])
    return int(np.nanargmax(scores)) if np.isfinite(scores).any() else None
