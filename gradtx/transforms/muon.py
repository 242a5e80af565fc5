"""Momentum made orthogonal."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, ScalarOrSchedule, optional
from gradtx.core.layout import DimensionNumbers, Layout, layouts
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import bias_correction, norm
from gradtx.kinds import Count, Dtype, checked

Coefficients = str | Sequence[float] | Sequence[Sequence[float]]
Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]

QUINTIC = (3.4445, -4.7750, 2.0315)
PRESETS: dict[str, Coefficients] = {
    "standard": QUINTIC,
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}


@checked
def scale_by_muon(
    ns_coeffs: Coefficients = QUINTIC,
    ns_steps: Count = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-8,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> GradientTransformationExtraArgs:
    """Replace each matrix by the nearly orthogonal one next to its momentum.

        mu' = beta mu + (1 - beta) g
        m   = beta mu' / (1 - beta^(step + 1)) + (1 - beta) g / (1 - beta^step)  if nesterov
              else  mu' / (1 - beta^step)
        o   = orthogonalize(m)        singular values between about 0.7 and 1.2
        u   = <m, o> o  if adaptive else  o

    A leaf of more than two dimensions is the matrix of all its axes but the last by the last, or
    what `weight_dimension_numbers` say: there the axes that are neither inputs nor outputs count
    matrices, each made orthogonal on its own. `mu` is like `params`, whatever the axes.

    >>> import optax
    >>> stacked = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    >>> tx = scale_by_muon(weight_dimension_numbers=stacked)  # three layers of 4 by 5
    >>> layers = jnp.ones((3, 4, 5))
    >>> tx.update(layers, tx.init(layers))[0].shape
    (3, 4, 5)

    Args:
        ns_coeffs: the three coefficients of a step of `orthogonalize`, or such a triple for each
            step, or the name of such: "standard", "dion".
        ns_steps: number of steps, where `ns_coeffs` is one triple.
        beta: decay of the momentum, in [0, 1); a number, a schedule or a JAX scalar, like all that
            have an interval.
        eps: added to the matrix's norm, in [0, inf).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nesterov: whether `m` looks one step ahead.
        adaptive: whether the step is as long as the dual norm <m, o> of the momentum.
        preconditioning: what a matrix is divided by before the steps: see `orthogonalize`.
        weight_dimension_numbers: which axes of a leaf are a matrix's inputs and outputs: one
            `optax.contrib.MuonDimensionNumbers` for all leaves, a tree of them like the parameters
            or a prefix of it, or a function from the parameters to one. `None` in it stands for
            the rule above.

    Raises:
        ValueError: if a number lies outside its interval or `ns_coeffs` are no triples; on
            `update`, for a leaf of less than two dimensions, or one whose dimension numbers are not
            of its axes.

    Source: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks";
    Bernstein and Newhouse (2024), "Old optimizer, new norm", for `adaptive`.
    """
    rounds = rounds_of(ns_coeffs, int(ns_steps))

    def update(h: Any, layout: Layout):
        c, ahead = bias_correction(h.beta, h.step), bias_correction(h.beta, h.step + 1)
        turned = jax.vmap(lambda m: orthogonalize(m, rounds, h.eps, preconditioning))

        def rule(g, p, mu):
            del p
            mu = h.beta * mu + (1 - h.beta) * g
            m = h.beta * mu / ahead + (1 - h.beta) * g / c if nesterov else mu / c
            u = layout.back(turned(layout.matrices(m)), m) if m.size else m
            return jnp.sum(m.conj() * u) * u if adaptive else u, {"mu": mu}

        return rule

    return leafwise(
        "scale_by_muon",
        update,
        slots={"mu": zeros(mu_dtype)},
        beta=(beta, MOMENTUM),
        eps=(eps, NON_NEGATIVE),
        per_leaf=True,
        labels=lambda tree: layouts("scale_by_muon", weight_dimension_numbers, tree),
    )


def rounds_of(ns_coeffs: Coefficients, ns_steps: int) -> list[tuple[float, ...]]:
    """The three coefficients of each step of `orthogonalize`.

    Args:
        ns_coeffs: three numbers, such a triple for each step, or the name of a preset.
        ns_steps: number of steps, where `ns_coeffs` is one triple.

    Raises:
        ValueError: if they are neither.
    """
    given = PRESETS.get(ns_coeffs, ()) if isinstance(ns_coeffs, str) else ns_coeffs
    once = len(given) > 0 and np.ndim(given[0]) == 0
    rounds: list[Any] = [tuple(given)] * ns_steps if once else list(given)
    if not rounds or any(len(c) != 3 for c in rounds):
        raise ValueError(
            f"scale_by_muon: `ns_coeffs` must be three numbers, or such a triple for each step, or"
            f" one of {', '.join(PRESETS)}; got {ns_coeffs!r}. Leave it out for the usual ones."
        )
    return rounds


def orthogonalize(
    x: jax.Array,
    rounds: Sequence[Sequence[float]],
    eps: float | jax.Array = 1e-8,
    preconditioning: Preconditioning = "frobenius",
) -> jax.Array:
    """Drive all singular values of a matrix towards 1 by Newton-Schulz steps.

        x = x / (|x| + eps);   then for each (a, b, c) in rounds:   A = x x^T
                                                                    x = a x + (b A + c A A) x

    The norm |x| is Frobenius's; it may be

        "spectral"   the greatest singular value
        "schatten"   sqrt(max(|x x^T|, eps^2))                                without + eps
        "aol"        sqrt(max(sum over j of |(x x^T)_ij|, eps^2)) for row i   without + eps

    which leave less for the steps to do. The last two cost next to nothing, since the first step
    needs x x^T anyway. A matrix of more rows than columns is turned over first.

    Args:
        x: the matrix.
        rounds: three coefficients for each step.
        eps: added to the norm.
        preconditioning: which norm.

    Source: Jordan et al. (2024); the iteration is in Bernstein and Newhouse (2024), appendix A;
    Boissin et al. (2025), "Turbo-Muon", for "aol"; Grishina et al. (2025) for "schatten".
    """
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x, gram = _divided(x, eps, preconditioning)
    for i, (a, b, c) in enumerate(rounds):
        gram = gram if i == 0 else x @ x.T.conj()
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else x.T


def _divided(x: jax.Array, eps: Any, preconditioning: str) -> tuple[jax.Array, jax.Array]:
    """`x` divided by its norm, and the x x^T of the result."""
    if preconditioning in ("frobenius", "spectral"):
        x = x / ((norm(x) if preconditioning == "frobenius" else jnp.linalg.norm(x, 2)) + eps)
        return x, x @ x.T.conj()
    gram = x @ x.T.conj()
    squared = norm(gram) if preconditioning == "schatten" else jnp.abs(gram).sum(1, keepdims=True)
    factor = jax.lax.rsqrt(jnp.maximum(squared, eps * eps))
    return x * factor, gram * factor * factor.T


@checked
def scale_by_shape(
    consistent_rms: ScalarOrSchedule | None = None,
    *,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each matrix by its shape, so that one learning rate suits all widths.

        u = g sqrt(max(1, fan_out / fan_in))
            g sqrt(max(fan_in, fan_out)) consistent_rms      if it is given; 0.2 is Adam's size

    fan_out is the length of the last axis, fan_in the product of the others, or what the dimension
    numbers say.

    Args:
        consistent_rms: root mean square of the update, in [0, inf), whatever the shape; by default
            the first factor is used; a number, a schedule or a JAX scalar.
        weight_dimension_numbers: as in `scale_by_muon`.

    Raises:
        ValueError: if `consistent_rms` is a negative number; on `update`, for a leaf of less than
            two dimensions, or one whose dimension numbers are not of its axes.

    Source: Jordan et al. (2024); Liu et al. (2025), "Muon is scalable for LLM training", eq. 4.
    """

    def update(h: Any, layout: Layout):
        def rule(g, p):
            del p
            fan_in, fan_out = layout.fans(g)
            if h.consistent_rms is None:
                return g * max(1.0, fan_out / max(fan_in, 1)) ** 0.5
            return g * (max(fan_in, fan_out) ** 0.5 * h.consistent_rms)

        return rule

    return leafwise(
        "scale_by_shape",
        update,
        consistent_rms=optional(consistent_rms, NON_NEGATIVE),
        per_leaf=True,
        labels=lambda tree: layouts("scale_by_shape", weight_dimension_numbers, tree),
    )
