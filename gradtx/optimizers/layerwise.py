"""Optimizers whose steps follow the size of each layer's parameters."""

from functools import partial

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformation
from gradtx.optimizers.parts import Mask, decayed, masked_by, optional
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.momentum import momentum_of_steps, scale_by_momentum
from gradtx.transforms.trust_ratio import scale_by_larc, scale_by_trust_ratio
from gradtx.transforms.weight_decay import add_decayed_weights


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-6,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule | None = 0.0,
    mask: Mask = None,
    *,
    max_ratio: ScalarOrSchedule | None = None,
) -> GradientTransformation:
    """Adam with decay, each layer's step in proportion to its parameters.

        a = m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay p
        u = -learning_rate |p| / |a| a        for each leaf; the ratio is at most `max_ratio`

    Source: You et al. (2020), algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        *decayed(weight_decay, mask),
        scale_by_trust_ratio(max_ratio=max_ratio),
        scale_by_learning_rate(learning_rate),
    )


def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: ScalarOrSchedule = 0.001,
    eps: ScalarOrSchedule = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: ScalarOrSchedule = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    """Momentum on gradients that are scaled to each layer's parameters.

        g  = grad + weight_decay p                      where `weight_decay_mask` is True
        r  = trust_coefficient |p| / (|g| + eps) g      where `trust_ratio_mask` is True, else g
        v' = momentum v + learning_rate r
        u  = -v'

    Source: You et al. (2017), algorithm 1.
    """
    ratio = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked_by(ratio, trust_ratio_mask),
        momentum_of_steps(learning_rate, momentum, nesterov=nesterov),
    )


def larc(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: ScalarOrSchedule | None = 0.9,
    trust_coefficient: ScalarOrSchedule = 0.02,
    eps: ScalarOrSchedule = 1e-8,
    clip: bool = True,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
) -> GradientTransformation:
    """LARS whose ratio is at most 1, so that layers only ever learn more slowly.

        r  = min(1, trust_coefficient |p| / (|grad| + eps)) grad
        v' = momentum v + r        u = -learning_rate (v' + weight_decay p)

    Source: NVIDIA's Apex. fastai's Larc applies the ratio after the momentum.
    """
    return chain(
        scale_by_larc(trust_coefficient, eps, clip=clip),
        *optional(partial(scale_by_momentum, nesterov=nesterov), momentum),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
