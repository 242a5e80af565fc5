"""Continue a run of Optax's with gradtx, and the other way round.

Transforms need no conversion, the protocol is the same; only the states of a run under way do.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, GetAttrKey

from gradtx.core.optax_fields import BY_LABEL, fields_of
from gradtx.core.state import TransformState, states_in
from gradtx.core.tree import PyTree, Tree, as_dtype, check_like, dtype_of, is_named_tuple, is_none

# Where a slot of ours is called otherwise in Optax: (transform, slot) -> (field, sign).
RENAMED = {
    # Optax sums the descending steps, gradtx the ascending ones, which it then turns round.
    ("momentum_of_steps", "velocity"): ("trace", -1),
    ("schedule_free", "max_learning_rate"): ("max_lr", 1),
}
FIELDS = {
    *("mu", "nu", "nu_max", "m1", "m2", "trace", "ema", "sum_of_squares", "e_g", "e_x"),
    *("z", "weight_sum", "max_lr", "b1"),  # of schedule_free
}
COUNTERS = {"count": 0, "count_m2": 0, "step_count": 1}  # what they are before any update


def from_optax(optax_state: Any, like: Tree, *, count: Any = None) -> Tree:
    """A gradtx state that goes on from an Optax state.

    The statistics (mu, nu, trace, ...) are taken over in order, in the dtypes of `like`. What else
    a state holds, such as the gradients that `accumulate` has added up, stays as in `like`.

    >>> import gradtx, jax, optax
    >>> params = jnp.ones(2)
    >>> old = optax.adam(0.1)
    >>> with jax.numpy_dtype_promotion("standard"):  # Optax needs it
    ...     _, old_state = old.update(params, old.init(params))
    >>> state = from_optax(old_state, gradtx.adam(0.1).init(params))
    >>> int(state.count)
    1

    Args:
        optax_state: the state of a run of Optax's.
        like: the state that the gradtx transform starts with, `tx.init(params)`; its
            hyperparameters stay.
        count: updates made so far, where Optax keeps no counter, as for plain momentum; by default
            Optax's counter.

    Raises:
        ValueError: if statistics are missing on one side, trees differ, or Optax's counters do.
    """
    theirs = _statistics(optax_state)
    ours = [(path, node) for path, node in states_in(like) if _fields(node)]
    counts = {
        int(getattr(node, name)) - COUNTERS[name]
        for _, node in _named(optax_state)
        for name in COUNTERS.keys() & node._fields
    }
    if count is None and len(counts) > 1:
        raise ValueError(
            f"from_optax: the counters of the Optax state must agree; got {sorted(counts)}. Say"
            " which is meant with `count`."
        )
    count = next(iter(counts), None) if count is None else count
    _check_pairs("from_optax", ours, theirs)
    new: dict[tuple, Any] = {}
    for (path, node), (_, source) in zip(ours, theirs, strict=True):
        for slot, (name, sign) in _fields(node).items():
            place = (*path, GetAttrKey("slots"), DictKey(slot))
            new |= _filled("from_optax", place, getattr(source, name), node.slots[slot], sign)
    for path, node in states_in(like):
        if node.count is not None and count is not None:
            new[*path, GetAttrKey("counter"), DictKey("count")] = jnp.int32(count)
    return _replaced(like, new)


def to_optax(state: Any, like: Tree) -> Tree:
    """An Optax state that goes on from a gradtx state; the inverse of `from_optax`.

    Args:
        state: the state of a run of gradtx's.
        like: the state that the Optax transform starts with; all its counters get that of `state`.

    Raises:
        ValueError: if statistics are missing on one side, or trees differ.
    """
    theirs = _statistics(like)
    ours = [(path, node) for path, node in states_in(state) if _fields(node)]
    _check_pairs("to_optax", ours, theirs)
    new: dict[tuple, Any] = {}
    for (_, source), (path, node) in zip(ours, theirs, strict=True):
        for slot, (name, sign) in _fields(source).items():
            if name == "b1":  # Optax's is the constant of its factory, ours what was used last
                continue
            place = (*path, GetAttrKey(name))
            new |= _filled("to_optax", place, source.slots[slot], getattr(node, name), sign)
    count = next((node.count for _, node in states_in(state) if node.count is not None), None)
    for path, node in _named(like):
        for name in COUNTERS.keys() & node._fields:
            if count is not None:
                dtype = dtype_of(getattr(node, name))
                new[*path, GetAttrKey(name)] = as_dtype(count + COUNTERS[name], dtype)
    return _replaced(like, new)


def _named(state: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """(path, node) of every NamedTuple in an Optax state, the outer before the inner."""
    for below, node in jax.tree_util.tree_leaves_with_path(state, is_leaf=is_named_tuple):
        if is_named_tuple(node):
            here = (*path, *below)
            yield here, node
            for name, child in zip(node._fields, node, strict=True):
                yield from _named(child, (*here, GetAttrKey(name)))


def _statistics(state: Any) -> list[tuple[tuple, Any]]:
    """(path, node) of what in an Optax state holds statistics."""
    return [(path, node) for path, node in _named(state) if FIELDS & {*node._fields}]


def _fields(node: TransformState) -> dict[str, tuple[str, int]]:
    """Slot -> (Optax's field, sign), for the slots of a state that Optax has, too."""
    if not isinstance(node.slots, dict) or fields_of(node.name, node.slots) is BY_LABEL:
        return {}
    fields = {slot: RENAMED.get((node.name, slot), (slot, 1)) for slot in node.slots}
    return {slot: field for slot, field in fields.items() if field[0] in FIELDS}


def _check_pairs(where: str, ours: list[tuple], theirs: list[tuple]) -> None:
    """Require the same statistics in the same order on both sides."""
    wanted = [sorted(name for name, _ in _fields(node).values()) for _, node in ours]
    offered = [sorted(FIELDS & {*node._fields}) for _, node in theirs]
    if wanted != offered:
        raise ValueError(
            f"{where}: both states must hold the same statistics in the same order; got"
            f" {[(node.name, names) for (_, node), names in zip(ours, wanted, strict=True)]} in"
            " gradtx's and"
            f" {[(type(n).__name__, f) for (_, n), f in zip(theirs, offered, strict=True)]} in"
            " Optax's. Build both transforms with the same settings."
        )


def _filled(where: str, path: tuple, source: PyTree, target: PyTree, sign: int) -> dict[tuple, Any]:
    """`sign * source` in the dtypes of `target`, in new buffers: by the leaves' paths."""
    source, target = map(_unmasked, (source, target))
    do = "Both states must be for the same parameters."
    check_like(where, "the state given", source, "the state to fill", target, do)
    fresh = lambda x, y: None if x is None else sign * jnp.array(x, dtype_of(y))
    tree = jax.tree.map(fresh, source, target, is_leaf=is_none)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {(*path, *below): leaf for below, leaf in leaves}


def _unmasked(tree: PyTree) -> PyTree:
    """`tree` with `None` in the place of Optax's mark for what a part of a partition lacks."""
    is_mark = lambda x: isinstance(x, optax.MaskedNode)
    return jax.tree.map(lambda x: None if is_mark(x) else x, tree, is_leaf=is_mark)


def _replaced(like: Any, leaves: dict[tuple, Any]) -> Any:
    """`like` with the leaves at the given paths in place of its own."""
    return jax.tree_util.tree_map_with_path(lambda path, x: leaves.get(path, x), like)
