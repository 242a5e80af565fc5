"""The first state of an optimizer in the form that its updates give it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var

from gradtx.core.state import structure_of
from gradtx.core.tree import PyTree, dtype_of, shape_of

State = Any


def settled_init(
    tx: Any,
    params: PyTree,
    update: Callable[..., tuple[PyTree, State]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> State:
    """`tx.init(params)` in the form that it has from the first update on.

        state, of which each leaf is as in init(params), or 0 where that has none

    A `scan`, and a fit, need a state of one form, and some of Optax's have another before the first
    update: `monitor` has no entries, `measure_with_ema` a bool for its mean. An entry is added only
    if no update reads it, and a dtype changed only to a wider one: what the optimizer does stays
    the same. A state that cannot be settled so, or whose update cannot be tried, is as `init` has
    made it. gradtx's own keep their form, and nothing is tried.

    Args:
        tx: a gradient transformation.
        params: the parameters.
        update: called as `tx.update`, if it is not that itself.
        extra: what an update is given by name.
    """
    state = tx.init(params)
    if _is_ours(tx):
        return state
    call = tx.update if update is None else update
    following = lambda state: call(params, state, params, **(extra or {}))[1]
    try:
        form = jax.eval_shape(following, state)
        if _same(form, state):
            return state
        filled, added = _filled(state, form)
        keeps = filled is not None and _same(jax.eval_shape(following, filled), filled)
        return filled if keeps and not _reads(following, filled, added) else state
    except Exception:  # whoever makes the first update is told what is wrong with it
        return state


def _is_ours(tx: Any) -> bool:
    structure = structure_of(tx)
    return structure is not None and all(_is_ours(part) for part in structure.parts if part)


def _filled(state: State, form: State) -> tuple[State, list[bool]]:
    """`state` in another form, and which leaves were added; None if it has what that has not."""
    old = dict(jax.tree.leaves_with_path(state))
    leaves, added = [], []
    for path, spec in jax.tree.leaves_with_path(form):
        leaf = old.pop(path, None)
        added.append(leaf is None)
        if leaf is None:
            leaf = jnp.zeros(spec.shape, spec.dtype)
        wider = jnp.promote_types(dtype_of(leaf), spec.dtype) == spec.dtype
        if shape_of(leaf) != spec.shape or not wider:
            return None, []
        leaves.append(jnp.asarray(leaf, spec.dtype))
    return (None, []) if old else (jax.tree.unflatten(jax.tree.structure(form), leaves), added)


def _same(form: State, state: State) -> bool:
    specs = lambda tree: [(shape_of(x), dtype_of(x)) for x in jax.tree.leaves(tree)]
    same_structure = jax.tree.structure(form) == jax.tree.structure(state)
    return same_structure and specs(form) == specs(state)


def _reads(following: Callable[[State], State], state: State, added: list[bool]) -> bool:
    """Whether an update looks at one of the leaves that were added, or keeps it."""
    jaxpr = jax.make_jaxpr(following)(state).jaxpr
    used = {x for eqn in jaxpr.eqns for x in eqn.invars if isinstance(x, Var)}
    used |= {x for x in jaxpr.outvars if isinstance(x, Var)}
    return any(new and var in used for new, var in zip(added, jaxpr.invars, strict=True))
