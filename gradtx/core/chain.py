"""Compose transformations."""

from typing import Any

import jax
import optax

from gradtx.core.state import is_state, structure_of, with_count, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, all_numbers, cast_like, same_form, upcast


def chain(*transforms: optax.GradientTransformation) -> GradientTransformationExtraArgs:
    """Compose transformations left to right: the output of one feeds the next.

        update(g, (s1, ..., sn), p):   g1, s1' = t1(g, s1, p);   g2, s2' = t2(g1, s2, p);   ...

    gradtx transforms, Optax's and users' own mix freely. Between gradtx's parts the updates are at
    least float32, and the result has the dtypes of `g`; a part from elsewhere is given updates in
    the dtypes of `g`, as it would be in `optax.chain`. The chain holds one counter, which all its
    gradtx parts share. `chain()` is the identity, and composition is associative up to how the
    states nest.

    Args:
        *transforms: the parts, in the order in which they act.

    Raises:
        TypeError: if a part is no gradient transformation.
        ValueError: on `update`, if `state` was made by another chain.
    """
    parts = tuple(
        as_transformation("chain", f"the part at place {i}", t) for i, t in enumerate(transforms)
    )
    structures = [structure_of(part) for part in parts]

    def init(params: PyTree) -> tuple[Any, ...]:
        return tuple(without_count(part.init(params)) for part in parts)

    def check(updates: PyTree, states: tuple[Any, ...]) -> None:
        if len(states) != len(parts):
            kinds = ", ".join(getattr(s, "name", type(s).__name__) for s in states) or "none"
            raise ValueError(
                f"chain.update: this chain has {len(parts)} transforms, but `state` holds"
                f" {len(states)} ({kinds}). Pass the state that `init` of this same chain returned."
            )
        # Only as far as the updates are known: a part from elsewhere may return anything.
        for structure, state in zip(structures, states, strict=True):
            if structure is None:
                break
            structure.check(updates, state)

    def update(updates: PyTree, states: tuple, params: PyTree, h: Any, **extra: Any):
        given, new = updates, []
        updates, checked, known = upcast(updates), True, True
        for part, structure, state in zip(parts, structures, states, strict=True):
            if structure is not None and checked:
                if not known:
                    structure.check(updates, state)
                updates, state = structure.apply(updates, state, params, h.count, extra)
            elif is_state(state):  # after a part from elsewhere, or a function around one of ours
                updates, state = part.update(updates, with_count(state, h.count), params, **extra)
                state = without_count(state)
            else:
                updates, state = part.update(_as_given(updates, given), state, params, **extra)
            if structure is None:  # it may have returned anything: the next parts look again
                checked = checked and same_form(updates, given) and all_numbers(updates)
                known = False
            new.append(state)
        return _as_given(updates, given), tuple(new)

    return transformation("chain", init, update, parts=tuple(transforms), check=check)


def _as_given(updates: PyTree, given: PyTree) -> PyTree:
    """`updates` in the dtypes of `given`, unless a part has changed the tree's structure."""
    same = jax.tree.structure(updates) == jax.tree.structure(given)
    return cast_like(updates, given) if same else updates
