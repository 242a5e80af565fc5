"""Adam that divides by how far the gradient is from what was expected."""

from typing import Any

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, bias_correction
from gradtx.kinds import checked


@checked
def scale_by_belief(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Scale each update by its first moment over the spread around it.

        mu'   = b1 mu + (1 - b1) g                  nu'   = b2 nu + (1 - b2) (g - mu')^2 + eps_root
        m_hat = mu' / (1 - b1^step)                 v_hat = nu' / (1 - b2^step)
        u     = m_hat / (sqrt(v_hat) + eps)

    `mu` and `nu` are like `params`, in at least float32.

    Args:
        b1: decay of the first moment `mu`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the spread `nu`, in [0, 1).
        eps: added to the root, in [0, inf).
        eps_root: added to `nu` at each update, in [0, inf).
        nesterov: whether `m_hat` looks one step ahead, as in `scale_by_adam`.

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1), or an `eps` one below 0.

    Source: Zhuang et al. (2020), algorithm 2.
    """

    def update(h: Any):
        c1, c2 = bias_correction(h.b1, h.step), bias_correction(h.b2, h.step)
        ahead = bias_correction(h.b1, h.step + 1)

        def rule(g, p, mu, nu):
            del p
            mu = h.b1 * mu + (1 - h.b1) * g
            nu = h.b2 * nu + (1 - h.b2) * abs_sq(g - mu) + h.eps_root
            m_hat = h.b1 * mu / ahead + (1 - h.b1) * g / c1 if nesterov else mu / c1
            return m_hat / (root(nu / c2) + h.eps), {"mu": mu, "nu": nu}

        return rule

    return leafwise(
        "scale_by_belief",
        update,
        slots={"mu": zeros(), "nu": zeros(real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
        eps_root=(eps_root, NON_NEGATIVE),
    )
