"""What each part of a chain does to the updates, one after the other."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import optax

from gradtx.core.describe import foreign_name
from gradtx.core.state import (
    is_state,
    numbered,
    structure_of,
    update_after,
    with_count,
    without_count,
)
from gradtx.core.transformation import as_transformation
from gradtx.core.tree import PyTree, cast_like, is_none, upcast


class Passed(NamedTuple):
    """The updates before and after one part.

    Args:
        name: of the part.
        before: what it was given; None for the leaves that it does not see.
        after: what it made of that.
    """

    name: str
    before: PyTree
    after: PyTree


def pass_through(
    tx: Any, updates: PyTree, state: Any, params: PyTree = None, **extra: Any
) -> list[Passed]:
    """Run a chain part by part, and keep what each makes of the updates.

        u0 = updates        u_i = part_i(u_(i-1))        [(name_i, u_(i-1), u_i)]

    Chains inside a chain, groups (`partition`, `masked`, `freeze`) and Optax's `chain` and
    `named_chain` are taken apart; what stands around an optimizer, such as `schedule_free`, is one
    part. The parts of a group have its label before their names. Names that come twice are
    numbered: `scale[0]`, `scale[1]`. The states that the parts leave are dropped.

    >>> import gradtx, jax.numpy as jnp
    >>> tx, params = gradtx.sgd(0.5, weight_decay=0.1), jnp.ones(2)
    >>> [(p.name, p.after.tolist()) for p in pass_through(tx, params, tx.init(params), params)]
    [('add_decayed_weights', [1.100000023841858, 1.100000023841858]), \
('scale_by_learning_rate', [-0.550000011920929, -0.550000011920929])]

    Args:
        tx: any gradient transformation; one that is no chain is a single part.
        updates: as `tx.update` takes them.
        state: as `tx.update` takes it.
        params: as `tx.update` takes them.
        **extra: further arguments of `tx.update`.

    Raises:
        TypeError: if `tx` is no gradient transformation.
    """
    tx = as_transformation("pass_through", "`tx`", tx)
    if structure := structure_of(tx):
        structure.check(updates, state)
    count = state.count if is_state(state) else None
    found = list(_walk(tx, upcast(updates), state, params, count, extra))
    names = numbered([passed.name for passed in found])
    return [passed._replace(name=name) for passed, name in zip(found, names, strict=True)]


def _walk(
    tx: Any, updates: PyTree, state: Any, params: PyTree, count: Any, extra: dict[str, Any]
) -> Iterator[Passed]:
    """The parts of `tx`, in order; the last one's `after` is the result."""
    structure = structure_of(tx) if is_state(state) else None
    if structure is not None and state.count is not None:
        count = state.count
    if structure is not None and structure.name == "chain":
        pairs = zip(structure.parts, state.slots, strict=True)
        parts = [("", part, part_state) for part, part_state in pairs]
    elif structure is not None and structure.select and structure.labels:
        for passed in _groups(structure, updates, state, params, count, extra):
            yield passed
            updates = _joined(updates, passed)
        if structure.after is not None:
            own = state.own_hyperparams
            result = update_after(structure.after, updates, own, params, count)
            yield Passed(_name(structure.after), updates, result)
        return
    elif parts := _foreign_parts(tx, state):
        pass
    else:
        yield Passed(_name(tx), updates, _update(tx, updates, state, params, count, extra))
        return
    for name, part, part_state in parts:
        for passed in _walk(part, updates, part_state, params, count, extra):
            yield passed._replace(name=f"{name}{passed.name}")
            updates = _joined(updates, passed)


def _joined(updates: PyTree, passed: Passed) -> PyTree:
    """`updates` with what a part has made of the leaves that it sees."""
    if jax.tree.structure(passed.after) == jax.tree.structure(updates):
        return passed.after
    new, old = (jax.tree.flatten(tree, is_leaf=is_none) for tree in (passed.after, updates))
    if new[1] != old[1]:
        return passed.after
    leaves = [b if a is None else a for a, b in zip(new[0], old[0], strict=True)]
    return old[1].unflatten(leaves)


def _groups(
    structure: Any, updates: PyTree, state: Any, params: PyTree, count: Any, extra: dict[str, Any]
) -> Iterator[Passed]:
    """The parts of each group, of the leaves that the group has."""
    none = (None,) * len(structure.parts)
    sees = structure.select(updates)
    theirs = none if params is None else structure.select(params)
    for label, part, mine, own in zip(structure.labels, structure.parts, sees, theirs, strict=True):
        if not jax.tree.leaves(mine):
            continue
        for passed in _walk(part, mine, state.slots[str(label)], own, count, extra):
            before = "" if isinstance(label, bool) else f"{label}."
            yield passed._replace(name=f"{before}{passed.name}")


def _update(
    tx: Any, updates: PyTree, state: Any, params: PyTree, count: Any, extra: dict[str, Any]
) -> PyTree:
    structure = structure_of(tx)
    if structure is not None and is_state(state):
        return structure.apply(updates, without_count(state), params, count, extra)[0]
    if is_state(state) and count is not None:
        state = with_count(state, count)
    given = updates if params is None else cast_like(updates, params)
    return optax.with_extra_args_support(tx).update(given, state, params, **extra)[0]


def _name(tx: Any) -> str:
    structure = structure_of(tx)
    return foreign_name(tx).rpartition(".")[2] if structure is None else structure.name


def _foreign_parts(tx: Any, state: Any) -> list[tuple[str, Any, Any]]:
    """(what its name begins with, part, its state) of a chain of Optax's, which hides its parts."""
    held = _held(tx.update)
    where = getattr(tx.update, "__qualname__", "")
    if where == "chain.<locals>.update_fn" and {"update_fns"} <= held.keys():
        starts = _held(tx.init).get("init_fns", ())
        fns = zip(starts, held["update_fns"], strict=True)
        parts = [_unwrapped(optax.GradientTransformationExtraArgs(*pair)) for pair in fns]
        if isinstance(state, tuple) and len(state) == len(parts):
            return [("", *pair) for pair in zip(parts, state, strict=True)]
    if where == "named_chain.<locals>.update_fn" and {"transforms"} <= held.keys():
        parts = held["transforms"]
        return [(f"{name}.", _unwrapped(part), state[name]) for name, part in parts]
    return []


def _held(function: Any) -> dict[str, Any]:
    """What a function has closed over, by name."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or not cells:
        return {}
    return {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells, strict=True)}


def _unwrapped(tx: Any) -> Any:
    """What stands inside Optax's wrapper that drops extra arguments, or `tx`."""
    if getattr(tx.update, "__qualname__", "") == "with_extra_args_support.<locals>.update":
        return _held(tx.update).get("tx", tx)
    return tx
