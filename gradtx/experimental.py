"""Optax's experiments, handed through."""

from optax import experimental as theirs
from optax.experimental import aggregating

from gradtx.core.newer_names import newer_names

__all__ = [
    "aggregating",
]

__getattr__ = newer_names(__name__, theirs)
