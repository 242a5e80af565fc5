"""AdEMAMix: Adam with a second, much slower momentum."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.ademamix import scale_by_ademamix
from gradtx.transforms.learning_rate import scale_by_learning_rate


@checked
def ademamix(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    weight_decay: ScalarOrSchedule | None = 0.0,
    mask: Mask | None = None,
    *,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """AdEMAMix: Adam with a fast and a slow momentum, and decoupled weight decay.

        u = -learning_rate ((m1 / (1 - b1^step) + alpha m2) / (sqrt(v_hat + eps_root) + eps)
                            + weight_decay p)

    A large `alpha` and a slow `b3` from the first step on diverge easily; the paper lets both grow
    over the training:

    >>> import gradtx
    >>> tx = gradtx.ademamix(
    ...     1e-3, b3=gradtx.schedules.half_life(0.9, 0.9999, 10_000),
    ...     alpha=gradtx.schedules.linear(0.0, 5.0, 10_000))

    The state has 12 bytes a parameter in float32, one half more than Adam's.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the fast momentum `m1`, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        b3: decay of the slow momentum `m2`, in [0, 1).
        alpha: weight of the slow momentum, in [0, inf).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of `m1` and `m2`; by default that of the parameter, at least float32.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.
        nu_dtype: dtype of the second moment; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Pagliardini et al. (2024), "The AdEMAMix optimizer: better, faster, older", section 3
    and algorithm 1.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype=nu_dtype),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
