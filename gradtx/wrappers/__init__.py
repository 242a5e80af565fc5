"""Accumulation, skipping, caution, 8-bit moments, and what keeps low-precision parameters exact."""

from gradtx.wrappers.accumulation import accumulate
from gradtx.wrappers.agreement import cautious
from gradtx.wrappers.flattening import flatten
from gradtx.wrappers.quantizing import quantize_moments
from gradtx.wrappers.rounding import kahan_summation, master_weights, stochastic_rounding
from gradtx.wrappers.skipping import apply_if_finite, skip_if_not_finite

__all__ = [
    "accumulate",
    "apply_if_finite",
    "cautious",
    "flatten",
    "kahan_summation",
    "master_weights",
    "quantize_moments",
    "skip_if_not_finite",
    "stochastic_rounding",
]
