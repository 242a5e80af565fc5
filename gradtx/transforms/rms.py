"""Scaling by the root of a running mean of squares."""

from typing import Any

import jax.numpy as jnp

from gradtx.core.hyperparams import NON_NEGATIVE, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq
from gradtx.core.tree import bias_correction as correction
from gradtx.kinds import Dtype, NonNegative, checked


@checked
def scale_by_rms(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: NonNegative = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    centered: bool = False,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Divide each update by the root of its running mean square.

        nu' = decay nu + (1 - decay) g^2                  mu' = decay mu + (1 - decay) g
        c   = 1 - decay^step  if bias_correction else  1
        s   = nu' / c - (mu' / c)^2  if centered else  nu' / c
        u   = g / sqrt(s + eps)  if eps_in_sqrt else  g / (sqrt(s) + eps)

    `nu` starts at `initial_scale`, and `mu`, which only a centered one holds, at 0; both are like
    `params`. Without bias correction the first step is 1 / sqrt(1 - decay) in every coordinate,
    whatever the gradient: ten with a decay of 0.99.

    Args:
        decay: decay of the mean square, in [0, 1); a number, a schedule or a JAX scalar, like all
            that have an interval.
        eps: added to the mean square, or to its root, in [0, inf).
        initial_scale: what `nu` starts at.
        eps_in_sqrt: whether `eps` is added under the root.
        bias_correction: whether averages that start at 0 are corrected for it.
        centered: whether the square of the mean gradient is subtracted from the mean square.
        nu_dtype: dtype of `nu` and `mu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `decay` is a number outside [0, 1) or `eps` one below 0.

    Source: Tieleman and Hinton (2012), lecture 6.5; the centered form is that of Graves (2013),
    section 4.2, equations 38 to 40.
    """

    def start(p: Any) -> Any:
        return jnp.full_like(zeros(nu_dtype, real=True)(p), initial_scale)

    slots = {"nu": start} | ({"mu": zeros(nu_dtype)} if centered else {})

    def update(h: Any):
        c = correction(h.decay, h.step) if bias_correction else 1.0
        ema = lambda old, x: h.decay * old + (1 - h.decay) * x

        def rule(g, p, nu, mu=None):
            del p
            new = {"nu": ema(nu, abs_sq(g))} | ({} if mu is None else {"mu": ema(mu, g)})
            scale = new["nu"] / c
            if mu is not None:
                # Rounding can leave the variance of a constant gradient just below zero.
                scale = jnp.maximum(scale - abs_sq(new["mu"] / c), 0)
            u = g / root(scale + h.eps) if eps_in_sqrt else g / (root(scale) + h.eps)
            return u, new

        return rule

    return leafwise(
        "scale_by_rms", update, slots=slots, decay=(decay, UNIT), eps=(eps, NON_NEGATIVE)
    )


@checked
def scale_by_stddev(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: NonNegative = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformationExtraArgs:
    """Divide each update by its running standard deviation: a centered `scale_by_rms`.

        u = g / sqrt(nu' - mu'^2 + eps)        the rest as in `scale_by_rms`

    Args:
        decay: decay of both averages, in [0, 1); a number, a schedule or a JAX scalar, like all
            that have an interval.
        eps: added to the variance, or to its root, in [0, inf).
        initial_scale: what `nu` starts at.
        eps_in_sqrt: whether `eps` is added under the root.
        bias_correction: whether averages that start at 0 are corrected for it.

    Raises:
        ValueError: if `decay` is a number outside [0, 1) or `eps` one below 0.

    Source: Graves (2013), section 4.2, equations 38 to 40.
    """
    return scale_by_rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction, centered=True)
