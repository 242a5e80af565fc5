"""How many examples a batch has: one definition, for the loop, its hooks and the devices."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def count_examples(
    batch: Any, entry: str | None = None, *, label: str | int | None = None
) -> int | None:
    """The number of examples in a batch, or None if the batch does not say it.

        n = len(batch[entry])       if an entry is named
            len(batch["weight"])    else, if the batch has weights
            len(batch[label])       else, if it has labels: "label", or as they are called
            n                       else, if all its arrays have the same length n

    Numbers and arrays without an axis have no length, and are passed over.

    >>> count_examples({"edges": np.zeros((9, 2)), "label": np.zeros(4), "rate": 0.5})
    4

    Args:
        batch: a pytree of arrays and numbers, a dict as a rule.
        entry: the name of an entry that has one value for each example.
        label: the name of the labels, or their place in a tuple.

    Raises:
        ValueError: if the named entry is not there, or it has no length.
    """
    named: Any = batch if isinstance(batch, Mapping) else {}
    if entry is not None and entry not in named:
        raise ValueError(
            f"count_examples: the batch must have the entry {entry!r}, which `examples` names; got"
            f" {sorted(map(str, named)) or type(batch).__name__}. Name one that every batch has."
        )
    if isinstance(batch, tuple | list) and isinstance(label, int) and entry is None:
        named = dict(enumerate(batch))
    label = "label" if label is None else label
    for name in ("weight", label) if entry is None else (entry,):
        if named.get(name) is not None:
            return _length(named[name], name)
    return _shared(batch)


def has_rows(x: Any, count: int | None) -> bool:
    """Whether `x` is an array with a row for each of `count` examples.

    Args:
        x: a leaf of a batch.
        count: as `count_examples` says; None, where it does not, takes every array for rows.
    """
    return bool(np.shape(x)) and count in (None, np.shape(x)[0])


def _length(value: Any, name: str | int) -> int:
    length = _shared(value)
    if length is None:
        raise ValueError(
            f"count_examples: the entry {name!r} of a batch must have one value for each example;"
            f" got {jax.tree.map(np.shape, value)}. Name another entry by `examples`."
        )
    return length


def _shared(tree: Any) -> int | None:
    """The length of all arrays in `tree`; None if they differ, or there is no array."""
    shapes = [np.shape(x) for x in jax.tree.leaves(tree)]
    lengths = {shape[0] for shape in shapes if shape}
    return lengths.pop() if len(lengths) == 1 else None
