"""Momentum made orthogonal."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, ScalarOrSchedule, optional
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import bias_correction, norm
from gradtx.kinds import Count, Dtype, checked

Coefficients = Sequence[float] | Sequence[Sequence[float]]
QUINTIC = (3.4445, -4.7750, 2.0315)


@checked
def scale_by_muon(
    ns_coeffs: Coefficients = QUINTIC,
    ns_steps: Count = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-8,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """Replace each matrix by the nearly orthogonal one next to its momentum.

        mu' = beta mu + (1 - beta) g
        m   = beta mu' / (1 - beta^(step + 1)) + (1 - beta) g / (1 - beta^step)  if nesterov
              else  mu' / (1 - beta^step)
        u   = orthogonalize(m)        singular values between about 0.7 and 1.2

    A leaf of more than two dimensions is the matrix of all its axes but the last by the last. `mu`
    is like `params`.

    Args:
        ns_coeffs: the three coefficients of a step of `orthogonalize`, or such a triple for each
            step.
        ns_steps: number of steps, where `ns_coeffs` is one triple.
        beta: decay of the momentum, in [0, 1); a number, a schedule or a JAX scalar, like all that
            have an interval.
        eps: added to the matrix's norm, in [0, inf).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nesterov: whether `m` looks one step ahead.

    Raises:
        ValueError: if a number lies outside its interval or `ns_coeffs` are no triples; on
            `update`, for a leaf of less than two dimensions.

    Source: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks".
    """
    once = len(ns_coeffs) > 0 and np.ndim(ns_coeffs[0]) == 0
    rounds: list[Any] = [tuple(ns_coeffs)] * int(ns_steps) if once else list(ns_coeffs)
    if not rounds or any(len(c) != 3 for c in rounds):
        raise ValueError(
            f"scale_by_muon: `ns_coeffs` must be three numbers, or such a triple for each step; got"
            f" {ns_coeffs}. Leave it out for the usual ones."
        )

    def update(h: Any):
        c, ahead = bias_correction(h.beta, h.step), bias_correction(h.beta, h.step + 1)

        def rule(g, p, mu):
            del p
            mu = h.beta * mu + (1 - h.beta) * g
            m = h.beta * mu / ahead + (1 - h.beta) * g / c if nesterov else mu / c
            return orthogonalize(_matrix(m), rounds, h.eps).reshape(m.shape), {"mu": mu}

        return rule

    return leafwise(
        "scale_by_muon",
        update,
        slots={"mu": zeros(mu_dtype)},
        beta=(beta, MOMENTUM),
        eps=(eps, NON_NEGATIVE),
        per_leaf=True,
    )


def orthogonalize(
    x: jax.Array, rounds: Sequence[Sequence[float]], eps: float | jax.Array = 1e-8
) -> jax.Array:
    """Drive all singular values of a matrix towards 1 by Newton-Schulz steps.

        x = x / (|x| + eps);   then for each (a, b, c) in rounds:   A = x x^T
                                                                    x = a x + (b A + c A A) x

    Args:
        x: the matrix.
        rounds: three coefficients for each step.
        eps: added to the norm.

    Source: Jordan et al. (2024); the iteration is in Bernstein and Newhouse (2024), appendix A.
    """
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (norm(x) + eps)
    for a, b, c in rounds:
        gram = x @ x.T.conj()
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else x.T


@checked
def scale_by_shape(
    consistent_rms: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each matrix by its shape, so that one learning rate suits all widths.

        u = g sqrt(max(1, fan_out / fan_in))
            g sqrt(max(fan_in, fan_out)) consistent_rms      if it is given; 0.2 is Adam's size

    fan_out is the length of the last axis, fan_in the product of the others.

    Args:
        consistent_rms: root mean square of the update, in [0, inf), whatever the shape; by default
            the first factor is used; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `consistent_rms` is a negative number; on `update`, for a leaf of less than
            two dimensions.

    Source: Jordan et al. (2024); Liu et al. (2025), "Muon is scalable for LLM training", eq. 4.
    """

    def rule(h: Any, g: jax.Array) -> jax.Array:
        fan_in, fan_out = _matrix(g).shape
        if h.consistent_rms is None:
            return g * max(1.0, fan_out / max(fan_in, 1)) ** 0.5
        return g * (max(fan_in, fan_out) ** 0.5 * h.consistent_rms)

    return leafwise(
        "scale_by_shape",
        lambda h: lambda g, p: rule(h, g),
        consistent_rms=optional(consistent_rms, NON_NEGATIVE),
        per_leaf=True,
    )


def _matrix(x: jax.Array) -> jax.Array:
    if x.ndim < 2:
        raise ValueError(
            f"muon: every leaf must have at least two dimensions; got shape {x.shape}. Use `muon`,"
            " which gives the other leaves to Adam, or `partition`."
        )
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(x.size, x.shape[-1])
