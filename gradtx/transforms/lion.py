"""The sign of an interpolated momentum."""

from typing import Any

import jax.numpy as jnp

from gradtx.core.hyperparams import MOMENTUM, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.transformation import GradientTransformation
from gradtx.kinds import Dtype, checked


@checked
def scale_by_lion(
    b1: ScalarOrSchedule = 0.9, b2: ScalarOrSchedule = 0.99, mu_dtype: Dtype | None = None
) -> GradientTransformation:
    """Replace each update by the sign of momentum and gradient together.

        u   = sign(b1 mu + (1 - b1) g)        mu' = b2 mu + (1 - b2) g

    `mu` is like `params`.

    Args:
        b1: weight of the momentum in the step, in [0, 1); a number, a schedule or a JAX scalar,
            like all that have an interval.
        b2: decay of the momentum `mu`, in [0, 1).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1).

    Source: Chen et al. (2023), algorithm 2.
    """

    def update(h: Any):
        def rule(g, p, mu):
            del p
            u = jnp.sign(h.b1 * mu + (1 - h.b1) * g)
            return u, {"mu": h.b2 * mu + (1 - h.b2) * g}

        return rule

    return leafwise(
        "scale_by_lion", update, slots={"mu": zeros(mu_dtype)}, b1=(b1, MOMENTUM), b2=(b2, UNIT)
    )
