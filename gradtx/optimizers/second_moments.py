"""Adam with another second moment: one that never falls, the largest, that around the average."""

from typing import Any

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformation
from gradtx.optimizers.parts import Mask, decayed
from gradtx.transforms.adamax import scale_by_adamax
from gradtx.transforms.amsgrad import scale_by_amsgrad
from gradtx.transforms.belief import scale_by_belief
from gradtx.transforms.learning_rate import scale_by_learning_rate


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """Adam with a second moment that never falls.

        u = -learning_rate m_hat / (sqrt(max of v_hat so far + eps_root) + eps)

    Source: Reddi et al. (2018), algorithm 2.
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )


def adamax(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
) -> GradientTransformation:
    """Adam with the infinity norm.

        u = -learning_rate m_hat / max(b2 nu, |g| + eps)

    Source: Kingma and Ba (2015), algorithm 2.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = 1e-4,
    mask: Mask = None,
) -> GradientTransformation:
    """`adamax` with decoupled weight decay.

    u = -learning_rate (m_hat / max(b2 nu, |g| + eps) + weight_decay p)
    """
    return chain(
        scale_by_adamax(b1, b2, eps),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam that divides by how far the gradient is from its average.

        u = -learning_rate m_hat / (sqrt(v_hat) + eps)        v: of g - mu'

    Source: Zhuang et al. (2020), algorithm 2.
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
