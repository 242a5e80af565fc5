"""Rectified Adam."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.radam import Length, scale_by_radam


@checked
def radam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: Length = 5.0,
    *,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """Rectified Adam: momentum until the second moment can be trusted.

        u = -learning_rate (r m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay p)
            where rho > threshold, else  -learning_rate (m_hat + weight_decay p)

    `scale_by_radam` has the formulas of `rho` and `r`.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        threshold: length of the average `rho`, in updates, above which the second moment is used;
            at least 4.
        nesterov: whether the first moment looks one step ahead.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Liu et al. (2020), algorithm 2.
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov),
        *decayed(weight_decay),
        scale_by_learning_rate(learning_rate),
    )
