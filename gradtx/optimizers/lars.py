"""LARS and LARC: momentum whose steps follow the size of each layer's parameters."""

from functools import partial

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask, masked_by
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked
from gradtx.optimizers.terms import decayed, optional
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.momentum import momentum_of_steps, scale_by_momentum
from gradtx.transforms.trust_ratio import scale_by_larc, scale_by_trust_ratio
from gradtx.transforms.weight_decay import add_decayed_weights


@checked
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: ScalarOrSchedule = 0.001,
    eps: ScalarOrSchedule = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: ScalarOrSchedule = 0.9,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Momentum on gradients that are scaled to each layer's parameters.

        g         = grad + weight_decay p                   where `weight_decay_mask` is True
        r         = trust_coefficient |p| / (|g| + eps) g   where `trust_ratio_mask` is, else g
        velocity' = momentum velocity + learning_rate r
        u         = -velocity'

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        weight_decay: coefficient of an L2 penalty, finite, which is part of the gradient.
        weight_decay_mask: where to add it: a tree of bools like the parameters or a prefix of it, a
            function from the parameters to one, or a pattern of paths.
        trust_coefficient: factor of the ratio, in [0, inf).
        eps: added to the gradient's norm, in [0, inf).
        trust_ratio_mask: where the ratio applies, in the form of `weight_decay_mask`.
        momentum: decay of the velocity, finite.
        nesterov: whether the step is `momentum velocity' + learning_rate r` in place of
            `velocity'`.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: You et al. (2017), algorithm 1.
    """
    ratio = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked_by(ratio, trust_ratio_mask),
        momentum_of_steps(learning_rate, momentum, nesterov=nesterov),
    )


@checked
def larc(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: ScalarOrSchedule | None = 0.9,
    trust_coefficient: ScalarOrSchedule = 0.02,
    eps: ScalarOrSchedule = 1e-8,
    clip: bool = True,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """LARS whose ratio is at most 1, so that layers only ever learn more slowly.

        r         = min(1, trust_coefficient |p| / (|grad| + eps)) grad
        velocity' = momentum velocity + r
        u         = -learning_rate (velocity' + weight_decay p)

    A leaf of zeros stays so, since its ratio is 0: give it a start, or another optimizer.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the velocity, finite; `None` means no momentum.
        trust_coefficient: factor of the ratio, in [0, inf).
        eps: added to the gradient's norm, in [0, inf).
        clip: whether the ratio is at most 1.
        nesterov: whether the step is `momentum velocity' + r` in place of `velocity'`.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: NVIDIA's Apex. fastai's Larc applies the ratio after the momentum.
    """
    return chain(
        scale_by_larc(trust_coefficient, eps, clip=clip),
        *optional(partial(scale_by_momentum, nesterov=nesterov), momentum),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
