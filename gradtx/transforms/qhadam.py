"""Adam with immediate discount factors."""

from typing import Any

from gradtx.core.hyperparams import (
    CLOSED_UNIT,
    MOMENTUM,
    NON_NEGATIVE,
    UNIT,
    ScalarOrSchedule,
)
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, bias_correction
from gradtx.kinds import Dtype, checked


@checked
def scale_by_qhadam(
    *,
    b1: ScalarOrSchedule = 0.999,
    b2: ScalarOrSchedule = 0.999,
    nu1: ScalarOrSchedule = 0.7,
    nu2: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 1e-8,
    mu_dtype: Dtype | None = None,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each update by moments that are mixed with the gradient of this step.

        u = ((1 - nu1) g + nu1 m_hat) / (sqrt((1 - nu2) g^2 + nu2 v_hat) + eps)

    with m_hat and v_hat as in `scale_by_adam`, which this is with nu1 = nu2 = 1; nu1 = 0 leaves
    RMSProp. `mu` and `nu` are like `params`.

    Args:
        b1: decay of the first moment `mu`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        nu1: weight of the first moment against the gradient, in [0, 1].
        nu2: weight of the second moment against the gradient's square, in [0, 1].
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nu_dtype: dtype of `nu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1), `nu1` or `nu2` one outside [0, 1],
            or `eps` one below 0.

    Source: Ma and Yarats (2019), equation 16; the defaults are fastai's.
    """

    def update(h: Any):
        c1, c2 = bias_correction(h.b1, h.step), bias_correction(h.b2, h.step)

        def rule(g, p, mu, nu):
            del p
            mu = h.b1 * mu + (1 - h.b1) * g
            nu = h.b2 * nu + (1 - h.b2) * abs_sq(g)
            top = (1 - h.nu1) * g + h.nu1 * (mu / c1)
            square = (1 - h.nu2) * abs_sq(g) + h.nu2 * (nu / c2)
            return top / (root(square) + h.eps), {"mu": mu, "nu": nu}

        return rule

    return leafwise(
        "scale_by_qhadam",
        update,
        slots={"mu": zeros(mu_dtype), "nu": zeros(nu_dtype, real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        nu1=(nu1, CLOSED_UNIT),
        nu2=(nu2, CLOSED_UNIT),
        eps=(eps, NON_NEGATIVE),
    )
