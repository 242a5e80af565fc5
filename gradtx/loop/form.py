"""The form of a tree: its structure, its shapes and its dtypes, in words."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import PyTree, path_name


def difference(new: PyTree, old: PyTree) -> str:
    """In what structure, shapes and dtypes of `new` are not those of `old`; "" if they are."""
    if jax.tree.structure(new) != jax.tree.structure(old):
        return _other_structure(new, old)
    pairs = zip(jax.tree.leaves_with_path(new), jax.tree.leaves(old), strict=True)
    for (path, a), b in pairs:
        if a is not b and _kind(a) != _kind(b):
            return f"{_kind(a)} at {path_name(path)} after {_kind(b)}"
    return ""


def _other_structure(new: PyTree, old: PyTree) -> str:
    """Of two structures the first leaf that only one has, else the whole of both."""
    leaves = [{path_name(path): x for path, x in jax.tree.leaves_with_path(t)} for t in (new, old)]
    ours, theirs = leaves
    for path in [*theirs, *ours]:
        if path not in theirs:
            return f"{_kind(ours[path])} at {path}, where nothing was"
        if path not in ours:
            return f"nothing at {path}, where {_kind(theirs[path])} was"
    return f"{jax.tree.structure(new)} after {jax.tree.structure(old)}"


def spec(tree: PyTree) -> str:
    """A tree of arrays in words: {'x': float32[8, 3], 'y': int32[8]}."""
    text = str(jax.tree.map(_Word, tree, is_leaf=lambda x: x is None))
    return text if len(text) <= 300 else f"{text[:300]} ..."


def entry(where: str, batch: Any, name: str | int, do: str, *, place: int | None) -> Any:
    """The entry `name` of a batch: of a dict, by its field, or by its place in a tuple.

    A pair (inputs, labels) has it at `place`, whatever it is called; None is nowhere. Of a longer
    tuple nobody can know. A batch that is a single array is its only input.

    Raises:
        ValueError: if the batch has no such entry; `do` says what to do.
    """
    if isinstance(batch, Mapping) and name in batch:
        return batch[name]
    fields = getattr(batch, "_fields", getattr(batch, "__dataclass_fields__", ()))
    if name in fields:
        return getattr(batch, str(name))
    if isinstance(batch, tuple | list) and not fields:
        index = name if isinstance(name, int) else place if len(batch) <= 2 else None
        if index is not None and -len(batch) <= index < len(batch):
            return batch[index]
    if 0 in (name, place) and hasattr(batch, "ndim"):
        return batch
    pair = "" if place is None else ", or a pair (inputs, labels)"
    wanted = f"a dict with the entry {name!r}{pair}"
    if isinstance(name, int):
        wanted = f"a tuple with place {name}"
    raise ValueError(f"{where}: the batch must be {wanted}; got {spec(batch)}. {do}.")


class _Word:
    """A leaf, printed by its dtype and shape."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf

    def __repr__(self) -> str:
        leaf = self.leaf
        is_array = hasattr(leaf, "dtype") and hasattr(leaf, "shape")
        return f"{leaf.dtype}{list(leaf.shape)}" if is_array else type(leaf).__name__


def _kind(x: Any) -> str:
    return f"{jnp.result_type(x)}{list(jnp.shape(x))}"
