"""Optax's assignment problems, handed through."""

from optax import assignment as theirs
from optax.assignment import (
    base_hungarian_algorithm,
    hungarian_algorithm,
)

from gradtx.core.newer_names import newer_names

__all__ = [
    "base_hungarian_algorithm",
    "hungarian_algorithm",
]

__getattr__ = newer_names(__name__, theirs)
