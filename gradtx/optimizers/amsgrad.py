"""Adam with a second moment that never falls."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.transforms.amsgrad import scale_by_amsgrad
from gradtx.transforms.learning_rate import scale_by_learning_rate


@checked
def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformationExtraArgs:
    """Adam with a second moment that never falls.

        u = -learning_rate m_hat / (sqrt(max of v_hat so far + eps_root) + eps)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of the first moment; by default that of the parameter, at least float32.
        bias_correction_mu: whether the first moment is corrected for its start at 0.
        bias_correction_nu: whether the second moment is corrected, before the maximum is taken.

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Reddi et al. (2018), algorithm 2.
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )
