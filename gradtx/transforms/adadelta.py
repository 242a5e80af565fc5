"""Scaling by the ratio of past steps to past gradients."""

from typing import Any

from gradtx.core.hyperparams import NON_NEGATIVE, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked


@checked
def scale_by_adadelta(
    rho: ScalarOrSchedule = 0.9, eps: ScalarOrSchedule = 1e-6
) -> GradientTransformationExtraArgs:
    """Give each update the size of the updates so far.

        e_g' = rho e_g + (1 - rho) g^2
        u    = g sqrt(e_x + eps) / sqrt(e_g' + eps)
        e_x' = rho e_x + (1 - rho) u^2

    `e_g` and `e_x` are like `params`, in at least float32.

    Args:
        rho: decay of both averages, in [0, 1); a number, a schedule or a JAX scalar, like all that
            have an interval.
        eps: added under both roots, in [0, inf).

    Raises:
        ValueError: if `rho` is a number outside [0, 1) or `eps` one below 0.

    Source: Zeiler (2012), algorithm 1.
    """

    def update(h: Any):
        ema = lambda old, x: h.rho * old + ((1 - h.rho) * x * x.conj()).real

        def rule(g, p, e_g, e_x):
            del p
            e_g = ema(e_g, g)
            u = root((e_x + h.eps) / (e_g + h.eps)) * g
            return u, {"e_g": e_g, "e_x": ema(e_x, u)}

        return rule

    return leafwise(
        "scale_by_adadelta",
        update,
        slots=dict.fromkeys(("e_g", "e_x"), zeros(real=True)),
        rho=(rho, UNIT),
        eps=(eps, NON_NEGATIVE),
    )
