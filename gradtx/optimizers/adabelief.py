"""Adam that divides by how far the gradient is from its average."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked
from gradtx.transforms.belief import scale_by_belief
from gradtx.transforms.learning_rate import scale_by_learning_rate


@checked
def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam that divides by how far the gradient is from its average.

        u = -learning_rate m_hat / (sqrt(v_hat) + eps)        v: of g - mu'

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, that of `g - mu'`, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added to the second moment at each update, in [0, inf).
        nesterov: whether the first moment looks one step ahead.

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Zhuang et al. (2020), algorithm 2.
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
