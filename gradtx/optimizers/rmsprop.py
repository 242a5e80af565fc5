"""RMSProp: the gradient over the root of its running mean square."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import NonNegative, checked
from gradtx.optimizers.terms import decayed, optional
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.momentum import momentum_of_steps
from gradtx.transforms.rms import scale_by_rms
from gradtx.transforms.weight_decay import add_l2


@checked
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: NonNegative = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    l2: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """RMSProp: the gradient over the root of its running mean square, then momentum.

        r         = (grad + l2 p) / sqrt(nu' + eps)              as in `scale_by_rms`
        velocity' = momentum velocity + learning_rate r          or learning_rate r without momentum
        u         = -velocity' - learning_rate weight_decay p

    Optax's defaults, and its place for momentum: after the learning rate. PyTorch has it before
    (`presets.torch_rmsprop`), and fastai has it on the gradient (`presets.fastai_rmsprop`); for a
    constant learning rate Optax's and PyTorch's places are the same.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        decay: decay of the mean square `nu`, in [0, 1).
        eps: added to the mean square, or to its root, in [0, inf).
        initial_scale: what `nu` starts at.
        eps_in_sqrt: whether `eps` is added under the root.
        centered: whether the square of the mean gradient is subtracted from the mean square.
        momentum: decay of the velocity, finite; `None` means no momentum.
        nesterov: whether the step is `momentum velocity' + learning_rate r` in place of
            `velocity'`.
        bias_correction: whether averages that start at 0 are corrected for it.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay` or `l2`.

    Source: Tieleman and Hinton (2012), lecture 6.5.
    """
    scaled = (
        *optional(add_l2, l2),
        scale_by_rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction, centered=centered),
    )
    if momentum is not None:
        steps = momentum_of_steps(
            learning_rate, momentum, nesterov=nesterov, weight_decay=weight_decay
        )
        return chain(*scaled, steps)
    return chain(
        *scaled,
        *decayed(weight_decay),
        scale_by_learning_rate(learning_rate),
    )
