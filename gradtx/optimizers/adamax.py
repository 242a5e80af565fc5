"""Adam with the infinity norm."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.adamax import scale_by_adamax
from gradtx.transforms.learning_rate import scale_by_learning_rate


@checked
def adamax(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
) -> GradientTransformationExtraArgs:
    """Adam with the infinity norm.

        u = -learning_rate m_hat / max(b2 nu, |g| + eps)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the maximum `nu`, in [0, 1).
        eps: added to the size of the gradient, in [0, inf).

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Kingma and Ba (2015), algorithm 2.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@checked
def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = 1e-4,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """`adamax` with decoupled weight decay.

        u = -learning_rate (m_hat / max(b2 nu, |g| + eps) + weight_decay p)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the maximum `nu`, in [0, 1).
        eps: added to the size of the gradient, in [0, inf).
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Kingma and Ba (2015), algorithm 2; Loshchilov and Hutter (2019) for the decay.
    """
    return chain(
        scale_by_adamax(b1, b2, eps),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
