"""Lion: the sign of an interpolated momentum."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.lion import scale_by_lion


@checked
def lion(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: Dtype | None = None,
    weight_decay: ScalarOrSchedule | None = 1e-3,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Lion: the sign of momentum and gradient together, with decoupled weight decay.

        u = -learning_rate (sign(b1 mu + (1 - b1) g) + weight_decay p)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: weight of the momentum `mu` in the step, finite.
        b2: decay of the momentum `mu`, finite.
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Chen et al. (2023), algorithm 2.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
