"""Continue a run of Optax's with gradtx, and the other way round.

Transforms need no conversion, the protocol is the same; only the states of a run under way do.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.state import TransformState, is_state, states_in
from gradtx.core.tree import PyTree, as_dtype, check_like, dtype_of, is_none

# Where a slot of ours is called otherwise in Optax: (transform, slot) -> (field, sign).
RENAMED = {
    ("scale_by_momentum", "velocity"): ("trace", 1),
    # Optax sums the descending steps, gradtx the ascending ones, which it then turns round.
    ("momentum_of_steps", "velocity"): ("trace", -1),
}
FIELDS = ("mu", "nu", "nu_max", "trace", "ema", "sum_of_squares")


def from_optax(optax_state: Any, like: Any, *, count: Any = None) -> Any:
    """A gradtx state that goes on from an Optax state.

    `like` is the state that the gradtx transform starts with, `tx.init(params)`; its
    hyperparameters stay. The statistics (mu, nu, trace, ...) are taken over in order, in the dtypes
    of `like`; the counter is Optax's, or `count` where it keeps none, as for plain momentum.

    >>> import gradtx, jax, optax
    >>> params = jnp.ones(2)
    >>> old = optax.adam(0.1)
    >>> with jax.numpy_dtype_promotion("standard"):  # Optax needs it
    ...     _, old_state = old.update(params, old.init(params))
    >>> state = from_optax(old_state, gradtx.adam(0.1).init(params))
    >>> int(state.count)
    1

    Raises:
        ValueError: if statistics are missing on one side, trees differ, or Optax's counters do.
    """
    theirs = list(_statistics(optax_state))
    ours = [node for node in states_in(like) if _fields(node)]
    counts = {int(n) for n in _counts(optax_state)}
    if count is None and len(counts) > 1:
        raise ValueError(
            f"from_optax: the counters of the Optax state must agree; got {sorted(counts)}. Say"
            " which is meant with `count`."
        )
    count = next(iter(counts), None) if count is None else count
    pairs = dict(zip(map(id, ours), _paired("from_optax", ours, theirs), strict=True))

    def convert(node: TransformState) -> TransformState:
        slots = jax.tree.map(visit, node.slots, is_leaf=is_state)
        if id(node) in pairs:
            source = pairs[id(node)]
            slots = node.slots | {
                slot: _filled("from_optax", getattr(source, name), node.slots[slot], sign)
                for slot, (name, sign) in _fields(node).items()
            }
        keep = node.count is None or count is None
        return replace(node, slots=slots, count=node.count if keep else jnp.int32(count))

    visit = lambda node: convert(node) if is_state(node) else node
    return jax.tree.map(visit, like, is_leaf=is_state)


def to_optax(state: Any, like: Any) -> Any:
    """An Optax state that goes on from a gradtx state; the inverse of `from_optax`.

    `like` is the state that the Optax transform starts with. All its counters get the counter of
    `state`.

    Raises:
        ValueError: if statistics are missing on one side, or trees differ.
    """
    theirs = list(_statistics(like))
    ours = [node for node in states_in(state) if _fields(node)]
    paired = _paired("to_optax", ours, theirs)
    sources = {id(target): source for source, target in zip(ours, paired, strict=True)}
    count = next((node.count for node in states_in(state) if node.count is not None), None)

    def convert(node: Any) -> Any:
        if not _is_named(node):
            return node
        new = {name: visit(getattr(node, name)) for name in node._fields}
        if id(node) in sources:
            source = sources[id(node)]
            for slot, (name, sign) in _fields(source).items():
                old = getattr(node, name)
                new[name] = _filled("to_optax", source.slots[slot], old, sign)
        if "count" in node._fields and count is not None:
            new["count"] = as_dtype(count, dtype_of(node.count))
        return node._replace(**new)

    visit = lambda tree: jax.tree.map(convert, tree, is_leaf=_is_named)
    return visit(like)


def _is_named(node: Any) -> bool:
    return isinstance(node, tuple) and hasattr(node, "_fields")


def _named(state: Any) -> Iterator[Any]:
    for node in jax.tree.leaves(state, is_leaf=_is_named):
        if _is_named(node):
            yield node
            yield from (inner for child in node for inner in _named(child))


def _statistics(state: Any) -> Iterator[Any]:
    """The nodes of an Optax state that hold trees like the parameters."""
    return (node for node in _named(state) if set(FIELDS) & set(node._fields))


def _counts(state: Any) -> Iterator[Any]:
    return (node.count for node in _named(state) if "count" in node._fields)


def _fields(node: TransformState) -> dict[str, tuple[str, int]]:
    """Slot -> (Optax's field, sign), for the slots of a state that Optax has, too."""
    if not isinstance(node.slots, dict):
        return {}
    fields = {slot: RENAMED.get((node.name, slot), (slot, 1)) for slot in node.slots}
    return {slot: field for slot, field in fields.items() if field[0] in FIELDS}


def _paired(where: str, ours: list[TransformState], theirs: list[Any]) -> list[Any]:
    """For each of `ours` its counterpart in `theirs`: the same statistics in the same order."""
    wanted = [sorted(name for name, _ in _fields(node).values()) for node in ours]
    offered = [sorted(set(FIELDS) & set(node._fields)) for node in theirs]
    if wanted != offered:
        raise ValueError(
            f"{where}: both states must hold the same statistics in the same order; got"
            f" {[(node.name, names) for node, names in zip(ours, wanted, strict=True)]} in gradtx's"
            f" and {[(type(n).__name__, f) for n, f in zip(theirs, offered, strict=True)]} in"
            " Optax's. Build both transforms with the same settings."
        )
    return theirs


def _filled(where: str, source: PyTree, target: PyTree, sign: int) -> PyTree:
    """`sign * source` in the dtypes of `target`, in new buffers."""
    do = "Both states must be for the same parameters."
    check_like(where, "the state given", source, "the state to fill", target, do)
    fresh = lambda x, y: None if x is None else sign * jnp.array(x, dtype_of(y))
    return jax.tree.map(fresh, source, target, is_leaf=is_none)
