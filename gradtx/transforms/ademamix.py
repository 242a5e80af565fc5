"""A fast and a slow average of the gradients together."""

from typing import Any

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, bias_correction
from gradtx.kinds import Dtype, checked


@checked
def scale_by_ademamix(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 6.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each update by its second moment, and add an average of very old gradients to it.

        m1' = b1 m1 + (1 - b1) g        m2' = b3 m2 + (1 - b3) g        nu' = b2 nu + (1 - b2) g^2
        u   = (m1' / (1 - b1^step) + alpha m2') / (sqrt(nu' / (1 - b2^step) + eps_root) + eps)

    `m2` is not corrected, so that it fills slowly. `m1`, `m2` and `nu` are like `params`: 12 bytes
    a parameter in float32.

    Args:
        b1: decay of the fast average `m1`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        b3: decay of the slow average `m2`, in [0, 1); the paper warms it up, with
            `schedules.half_life`.
        alpha: weight of the slow average, in [0, inf); the paper warms it up, with
            `schedules.linear`.
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of `m1` and `m2`; by default that of the parameter, at least float32.
        nu_dtype: dtype of `nu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Pagliardini et al. (2024), "The AdEMAMix optimizer: better, faster, older", section 3,
    equation AdEMAMix, and algorithm 1.
    """

    def update(h: Any):
        c1, c2 = bias_correction(h.b1, h.step), bias_correction(h.b2, h.step)

        def rule(g, p, m1, m2, nu):
            del p
            m1 = h.b1 * m1 + (1 - h.b1) * g
            m2 = h.b3 * m2 + (1 - h.b3) * g
            nu = h.b2 * nu + (1 - h.b2) * abs_sq(g)
            u = (m1 / c1 + h.alpha * m2) / (root(nu / c2 + h.eps_root) + h.eps)
            return u, {"m1": m1, "m2": m2, "nu": nu}

        return rule

    return leafwise(
        "scale_by_ademamix",
        update,
        slots={"m1": zeros(mu_dtype), "m2": zeros(mu_dtype), "nu": zeros(nu_dtype, real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        b3=(b3, UNIT),
        alpha=(alpha, NON_NEGATIVE),
        eps=(eps, NON_NEGATIVE),
        eps_root=(eps_root, NON_NEGATIVE),
    )
