"""Optax's second-order quantities, handed through."""

from optax import second_order as theirs
from optax.second_order import (
    fisher_diag,
    hessian_diag,
    hvp,
)

from gradtx.core.newer_names import newer_names

__all__ = [
    "fisher_diag",
    "hessian_diag",
    "hvp",
]

__getattr__ = newer_names(__name__, theirs)
