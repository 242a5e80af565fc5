"""PyTorch's optimizers, where they differ from the ones of the same name here."""

from typing import Any

import jax.numpy as jnp

from gradtx.core.chain import chain
from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import NonNegative, checked
from gradtx.optimizers.terms import optional
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.momentum import scale_by_momentum
from gradtx.transforms.rms import scale_by_rms
from gradtx.transforms.rss import scale_by_rss
from gradtx.transforms.stats import Statistic, scale_by_stats
from gradtx.transforms.weight_decay import add_l2


@checked
def torch_sgd(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: ScalarOrSchedule = 0.0,
    dampening: ScalarOrSchedule = 0.0,
    nesterov: bool = False,
    l2: ScalarOrSchedule = 0.0,
) -> GradientTransformationExtraArgs:
    """SGD whose first gradient is not dampened.

        g         = grad + l2 p
        velocity' = g  at the first step, then  momentum velocity + (1 - dampening) g
        u         = -learning_rate (g + momentum velocity'  if nesterov else  velocity')

    Nor is any gradient where momentum is 0. The first step is that of all parameters together; in
    PyTorch it is each one's own, which differs where one has no gradient at first. Without
    dampening it is `sgd`. PyTorch calls `l2` weight_decay.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the velocity, in [0, 1); 0 means no momentum, and no dampening.
        dampening: what is left out of each gradient but the first, in [0, inf).
        nesterov: whether the step is `g + momentum velocity'` in place of `velocity'`.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: PyTorch's `torch.optim.SGD`.
    """

    def push(h: Any):
        plain = (h.step == 1) | (h.momentum == 0)
        return lambda g, p, old: jnp.where(plain, g, h.momentum * old + (1 - h.dampening) * g)

    def step(h: Any):
        return lambda g, p, *, velocity: g + h.momentum * velocity if nesterov else velocity

    domains = {"momentum": (momentum, MOMENTUM), "dampening": (dampening, NON_NEGATIVE)}
    return chain(
        add_l2(l2),
        scale_by_stats(Statistic("velocity", push, domains), step=step, name="torch_sgd"),
        scale_by_learning_rate(learning_rate),
    )


@checked
def torch_rmsprop(
    learning_rate: ScalarOrSchedule = 1e-2,
    *,
    decay: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    momentum: ScalarOrSchedule | None = None,
    centered: bool = False,
    l2: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """RMSProp with eps outside the root and momentum before the learning rate.

        r         = (grad + l2 p) / (sqrt(nu') + eps)        nu' as in `scale_by_rms`
        velocity' = momentum velocity + r
        u         = -learning_rate velocity'

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        decay: decay of the mean square `nu`, in [0, 1); PyTorch's `alpha`.
        eps: added to the root, in [0, inf).
        momentum: decay of the velocity, finite; `None` means no momentum.
        centered: whether the square of the mean gradient is subtracted from the mean square.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `l2`.

    Source: PyTorch's `torch.optim.RMSprop`.
    """
    return chain(
        *optional(add_l2, l2),
        scale_by_rms(decay, eps, eps_in_sqrt=False, centered=centered),
        *optional(scale_by_momentum, momentum),
        scale_by_learning_rate(learning_rate),
    )


@checked
def torch_adagrad(
    learning_rate: ScalarOrSchedule = 1e-2,
    *,
    initial_accumulator_value: NonNegative = 0.0,
    eps: ScalarOrSchedule = 1e-10,
    l2: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """Adagrad that starts at 0, with eps outside the root.

        g               = grad + l2 p
        sum_of_squares' = sum_of_squares + g^2
        u               = -learning_rate g / (sqrt(sum_of_squares') + eps)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        initial_accumulator_value: what the sum starts at, 0 or more.
        eps: added to the root, in [0, inf).
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if `initial_accumulator_value` is negative or a number lies outside its
            interval; on `update`, without `params` though there is `l2`.

    Source: PyTorch's `torch.optim.Adagrad`.
    """
    return chain(
        *optional(add_l2, l2),
        scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=False),
        scale_by_learning_rate(learning_rate),
    )
