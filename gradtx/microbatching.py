"""Optax's microbatching, handed through."""

from optax import microbatching as theirs
from optax.microbatching import (
    AccumulationType,
    Accumulator,
    micro_grad,
    micro_vmap,
    microbatch,
    reshape_batch_axis,
)

from gradtx.core.newer_names import newer_names

__all__ = [
    "AccumulationType",
    "Accumulator",
    "micro_grad",
    "micro_vmap",
    "microbatch",
    "reshape_batch_axis",
]

__getattr__ = newer_names(__name__, theirs)
