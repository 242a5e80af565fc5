"""Bias-corrected moments."""

from typing import Any

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
def scale_by_adam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each update by its bias-corrected first and second moments.

        mu'   = b1 mu + (1 - b1) g                  nu'   = b2 nu + (1 - b2) g^2
        m_hat = mu' / (1 - b1^step)                 v_hat = nu' / (1 - b2^step)
        u     = m_hat / (sqrt(v_hat + eps_root) + eps)

    With `nesterov`, m_hat looks one step ahead:

        m_hat = b1 mu' / (1 - b1^(step + 1)) + (1 - b1) g / (1 - b1^step)

    The corrections use the current b1 and b2, also where these follow a schedule. `mu` and `nu` are
    like `params`.

    >>> import jax.numpy as jnp
    >>> tx = scale_by_adam()
    >>> u, state = tx.update(jnp.array([5.0, -0.1]), tx.init(jnp.zeros(2)))
    >>> u.round(4).tolist()  # the first update is the sign of the gradient
    [1.0, -1.0]

    Args:
        b1: decay of the first moment `mu`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nesterov: whether `m_hat` looks one step ahead.
        nu_dtype: dtype of `nu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1), or an `eps` one below 0.

    Source: Kingma and Ba (2015), algorithm 1; the Nesterov form is that of Dozat (2016), section 3.
    """

    def update(h: Any):
        c1, c2 = bias_correction(h.b1, h.step), bias_correction(h.b2, h.step)
        ahead = bias_correction(h.b1, h.step + 1)

        def rule(g, p, mu, nu):
            del p
            mu = h.b1 * mu + (1 - h.b1) * g
            nu = h.b2 * nu + (1 - h.b2) * abs_sq(g)
            m_hat = h.b1 * mu / ahead + (1 - h.b1) * g / c1 if nesterov else mu / c1
            v_hat = nu / c2 + h.eps_root
            return m_hat / (root(v_hat) + h.eps), {"mu": mu, "nu": nu}

        return rule

    return leafwise(
        "scale_by_adam",
        update,
        slots={"mu": zeros(mu_dtype), "nu": zeros(nu_dtype, real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
        eps_root=(eps_root, NON_NEGATIVE),
    )
