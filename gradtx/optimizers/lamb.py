"""LAMB: Adam whose steps follow the size of each layer's parameters."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.trust_ratio import scale_by_trust_ratio


@checked
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-6,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule | None = 0.0,
    mask: Mask | None = None,
    *,
    max_ratio: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """Adam with decay, each layer's step in proportion to its parameters.

        a = m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay p
        u = -learning_rate |p| / |a| a        for each leaf; the ratio is at most `max_ratio`

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.
        max_ratio: upper bound of the ratio, in (0, inf); `None` means no bound.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: You et al. (2020), algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        *decayed(weight_decay, mask),
        scale_by_trust_ratio(max_ratio=max_ratio),
        scale_by_learning_rate(learning_rate),
    )
