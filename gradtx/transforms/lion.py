"""The sign of an interpolated momentum."""

from typing import Any, Literal

import jax.numpy as jnp

from gradtx.core.hyperparams import ANY_MOMENTUM, REAL, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked


@checked
def scale_by_lion(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: Dtype | None = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: float = 1.0,
) -> GradientTransformationExtraArgs:
    """Replace each update by the sign of momentum and gradient together.

        u   = sign(b1 mu + (1 - b1) g)        mu' = b2 mu + (1 - b2) g

    In place of the sign, `mode` "smooth" has tanh(smooth_beta x), and "refined" x itself where its
    size is below 1. `mu` is like `params`.

    Args:
        b1: weight of the momentum in the step, finite; a number, a schedule or a JAX scalar,
            like all that have an interval.
        b2: decay of the momentum `mu`, finite.
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        mode: "hard", "smooth" or "refined": what stands for the sign.
        smooth_beta: steepness of the smooth one, finite.

    Raises:
        ValueError: if `b1` or `b2` is an infinite number, or for another `mode`.

    Source: Chen et al. (2023), algorithm 2.
    """
    signs = {
        "hard": jnp.sign,
        "smooth": lambda x: jnp.tanh(smooth_beta * x),
        "refined": lambda x: jnp.where(jnp.abs(x) < 1, x, jnp.sign(x)),
    }
    sign = signs[mode]

    def update(h: Any):
        def rule(g, p, mu):
            del p
            u = sign(h.b1 * mu + (1 - h.b1) * g)
            return u, {"mu": h.b2 * mu + (1 - h.b2) * g}

        return rule

    return leafwise(
        "scale_by_lion",
        update,
        slots={"mu": zeros(mu_dtype)},
        b1=(b1, ANY_MOMENTUM),
        b2=(b2, REAL),
    )
