"""The protocol: what a transform is, the ways to make one, and the way to apply its result.

A gradient transformation is Optax's pair of pure functions

    init(params) -> state        update(updates, state, params=None, **extra) -> (updates, state)

`transformation` makes one from functions on whole trees, `leafwise` from a rule for one leaf,
`chain` from other transforms. They look after what every transform needs: live hyperparameters,
the counter, arithmetic in at least float32, fixed state dtypes, `None` leaves and errors that
name the path.
"""

from typing import Any

import jax

from gradtx.compose import chain
from gradtx.leaf import Slot, leafwise, zeros
from gradtx.protocol import GradientTransformation, as_transformation, identity, transformation
from gradtx.state import (
    Anatomy,
    TransformState,
    counted,
    is_state,
    states_in,
    uncounted,
    update_inner,
)
from gradtx.tree import PyTree, as_dtype, check_like, compute_dtype, dtype_of, is_none

__all__ = [
    "Anatomy",
    "GradientTransformation",
    "Slot",
    "TransformState",
    "apply_updates",
    "as_transformation",
    "chain",
    "counted",
    "identity",
    "is_state",
    "leafwise",
    "states_in",
    "transformation",
    "uncounted",
    "update_inner",
    "zeros",
]


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """Add the updates to the parameters.

        p' = p + u

    The sum is made in at least float32 and rounded once to the dtype of `p`. A `None` on either
    side leaves the parameter as it is.

    Raises:
        ValueError: if the trees differ.
    """
    do = "Pass the updates that `tx.update` returned for these parameters."
    check_like("apply_updates", "updates", updates, "params", params, do)

    def add(p: Any, u: Any) -> Any:
        if p is None or u is None:
            return p
        dtype = compute_dtype(p, u)
        return as_dtype(as_dtype(p, dtype) + as_dtype(u, dtype), dtype_of(p))

    return jax.tree.map(add, params, updates, is_leaf=is_none)
