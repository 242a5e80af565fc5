"""Adam with the infinity norm."""

from typing import Any

import jax.numpy as jnp

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import bias_correction
from gradtx.kinds import checked


@checked
def scale_by_adamax(
    b1: ScalarOrSchedule = 0.9, b2: ScalarOrSchedule = 0.999, eps: ScalarOrSchedule = 1e-8
) -> GradientTransformationExtraArgs:
    """Scale each update by its first moment over a decaying maximum.

        mu' = b1 mu + (1 - b1) g        nu' = max(b2 nu, |g| + eps)
        u   = mu' / (1 - b1^step) / nu'

    `mu` and `nu` are like `params`, in at least float32.

    Args:
        b1: decay of the first moment `mu`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the maximum `nu`, in [0, 1).
        eps: added to the size of the gradient, in [0, inf).

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1), or `eps` one below 0.

    Source: Kingma and Ba (2015), algorithm 2.
    """

    def update(h: Any):
        c1 = bias_correction(h.b1, h.step)

        def rule(g, p, mu, nu):
            del p
            mu = h.b1 * mu + (1 - h.b1) * g
            nu = jnp.maximum(h.b2 * nu, jnp.abs(g) + h.eps)
            return mu / c1 / nu, {"mu": mu, "nu": nu}

        return rule

    return leafwise(
        "scale_by_adamax",
        update,
        slots={"mu": zeros(), "nu": zeros(real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
    )
