"""Adam with a second moment that never falls."""

from typing import Any

import jax.numpy as jnp

from gradtx.core.hyperparams import (
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
def scale_by_amsgrad(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each update by its first moment over the largest second moment so far.

        mu' = b1 mu + (1 - b1) g                         nu' = b2 nu + (1 - b2) g^2
        m   = mu' / (1 - b1^step)  or  mu'               v   = nu' / (1 - b2^step)  or  nu'
        nu_max' = max(nu_max, v)                         u   = m / (sqrt(nu_max' + eps_root) + eps)

    The second forms are those without `bias_correction_mu` and `bias_correction_nu`, the paper's;
    PyTorch takes the maximum before it corrects. The slots are like `params`.

    Args:
        b1: decay of the first moment `mu`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        bias_correction_mu: whether the first moment is corrected for its start at 0.
        bias_correction_nu: whether the second moment is corrected, before the maximum is taken.
        nu_dtype: dtype of `nu` and `nu_max`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1), or an `eps` one below 0.

    Source: Reddi et al. (2018), algorithm 2.
    """

    def update(h: Any):
        c1 = bias_correction(h.b1, h.step) if bias_correction_mu else 1.0
        c2 = bias_correction(h.b2, h.step) if bias_correction_nu else 1.0

        def rule(g, p, mu, nu, nu_max):
            del p
            mu = h.b1 * mu + (1 - h.b1) * g
            nu = h.b2 * nu + (1 - h.b2) * abs_sq(g)
            nu_max = jnp.maximum(nu_max, nu / c2)
            v = nu_max + h.eps_root
            return mu / c1 / (root(v) + h.eps), {"mu": mu, "nu": nu, "nu_max": nu_max}

        return rule

    return leafwise(
        "scale_by_amsgrad",
        update,
        slots={
            "mu": zeros(mu_dtype),
            "nu": zeros(nu_dtype, real=True),
            "nu_max": zeros(nu_dtype, real=True),
        },
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
        eps_root=(eps_root, NON_NEGATIVE),
    )
