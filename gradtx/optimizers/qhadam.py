"""Quasi-hyperbolic Adam."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.qhadam import scale_by_qhadam


@checked
def qhadam(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ScalarOrSchedule = 0.999,
    b2: ScalarOrSchedule = 0.999,
    nu1: ScalarOrSchedule = 0.7,
    nu2: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Quasi-hyperbolic Adam: moments mixed with the gradient of this step.

        u = -learning_rate ((1 - nu1) g + nu1 m_hat) / (sqrt((1 - nu2) g^2 + nu2 v_hat) + eps)
            -learning_rate weight_decay p

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        nu1: weight of the first moment against the gradient, in [0, 1].
        nu2: weight of the second moment against the gradient's square, in [0, 1].
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Ma and Yarats (2019), equation 16; the defaults are fastai's.
    """
    return chain(
        scale_by_qhadam(b1=b1, b2=b2, nu1=nu1, nu2=nu2, eps=eps),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
