"""The last step of a training loop: parameters and updates become parameters."""

from typing import Any

import jax

from gradtx.core.tree import PyTree, Tree, as_dtype, check_like, compute_dtype, dtype_of, is_none


def apply_updates(params: Tree, updates: PyTree) -> Tree:
    """Add the updates to the parameters.

        p' = p + u

    The sum is made in at least float32 and rounded once to the dtype of `p`. A `None` on either
    side leaves the parameter as it is.

    Args:
        params: a tree of arrays.
        updates: a tree like it, what `tx.update` returned.

    Raises:
        ValueError: if the trees differ.
    """
    if jax.tree.structure(params, is_leaf=is_none) == jax.tree.structure(updates, is_leaf=is_none):
        there = lambda p, u: None if p is None else u
        updates = jax.tree.map(there, params, updates, is_leaf=is_none)
    do = "Pass the updates that `tx.update` returned for these parameters."
    check_like("apply_updates", "updates", updates, "params", params, do)

    def add(p: Any, u: Any) -> Any:
        if p is None or u is None:
            return p
        dtype = compute_dtype(p, u)
        return as_dtype(as_dtype(p, dtype) + as_dtype(u, dtype), dtype_of(p))

    return jax.tree.map(add, params, updates, is_leaf=is_none)
