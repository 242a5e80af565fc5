"""Optax's perturbations, handed through."""

from optax import perturbations as theirs
from optax.perturbations import (
    Gumbel,
    Normal,
    make_perturbed_fun,
)

from gradtx.core.newer_names import newer_names

__all__ = [
    "Gumbel",
    "Normal",
    "make_perturbed_fun",
]

__getattr__ = newer_names(__name__, theirs)
