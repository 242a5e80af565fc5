"""Gradient descent, with momentum or scaled by past gradients, without bias correction."""

from functools import partial
from typing import Any

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformation
from gradtx.optimizers.parts import Mask, decayed, optional
from gradtx.transforms.adadelta import scale_by_adadelta
from gradtx.transforms.learning_rate import scale_by_learning_rate, scale_by_sign
from gradtx.transforms.lion import scale_by_lion
from gradtx.transforms.momentum import ema, momentum_of_steps, scale_by_momentum
from gradtx.transforms.rms import scale_by_rms
from gradtx.transforms.rss import scale_by_rss
from gradtx.transforms.weight_decay import add_decayed_weights, add_l2


def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    *,
    dampening: bool | ScalarOrSchedule = False,
    weight_decay: ScalarOrSchedule | None = None,
    l2: ScalarOrSchedule | None = None,
) -> GradientTransformation:
    """Stochastic gradient descent, with momentum if it is given.

        g = grad + l2 p        v' = momentum v + (1 - dampening) g
        u = -learning_rate (v' + weight_decay p)        v' is g without momentum

    `None` leaves a term out, and its memory with it; whether there is momentum is thus fixed
    here, its value is live.

    >>> import jax.numpy as jnp
    >>> tx = sgd(0.5, momentum=0.9)
    >>> tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0].tolist()
    [-0.5]

    Source: Robbins and Monro (1951); Polyak (1964) for momentum.
    """
    memory = partial(
        scale_by_momentum,
        dampening=dampening,
        nesterov=nesterov,
        velocity_dtype=accumulator_dtype,
    )
    return chain(
        *optional(add_l2, l2),
        *optional(memory, momentum),
        *decayed(weight_decay),
        scale_by_learning_rate(learning_rate),
    )


def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    l2: ScalarOrSchedule | None = None,
) -> GradientTransformation:
    """RMSProp: the gradient over the root of its running mean square, then momentum.

        r  = (grad + l2 p) / sqrt(nu' + eps)        nu', and eps outside the root: `scale_by_rms`
        v' = momentum v + learning_rate r           v' is learning_rate r without momentum
        u  = -v' - learning_rate weight_decay p

    Optax's defaults, and its place for momentum: after the learning rate. PyTorch has it before
    (`presets.torch_rmsprop`), and fastai has it on the gradient (`presets.fastai_rmsprop`); for a
    constant learning rate Optax's and PyTorch's places are the same.

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
        *optional(add_decayed_weights, weight_decay),
        scale_by_learning_rate(learning_rate),
    )


def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: float = 0.1,
    eps: ScalarOrSchedule = 1e-7,
) -> GradientTransformation:
    """Adagrad: the gradient over the root of the sum of all squares so far.

        s' = s + g^2        u = -learning_rate g / sqrt(s' + eps)

    Source: Duchi et al. (2011), figure 1.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate)
    )


def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = None,
) -> GradientTransformation:
    """Adadelta: steps in proportion to the steps so far.

        g = grad + weight_decay p        u = -learning_rate g sqrt(e_x + eps) / sqrt(e_g' + eps)

    Optax's defaults: `weight_decay` is an L2 term, before the scaling. Without a learning rate,
    which the paper does not have, the direction is not turned downhill: Optax climbs there too.

    Source: Zeiler (2012), algorithm 1.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        *optional(scale_by_learning_rate, learning_rate),
    )


def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformation:
    """Only the sign of each gradient.

        u = -learning_rate sign(g)

    Source: Bernstein et al. (2018), algorithm 1.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


def signum(
    learning_rate: ScalarOrSchedule, beta: ScalarOrSchedule = 0.9, accumulator_dtype: Any = None
) -> GradientTransformation:
    """The sign of an average of the gradients.

        m' = beta m + (1 - beta) g        u = -learning_rate sign(m')

    Source: Bernstein et al. (2018), algorithm 2.
    """
    return chain(
        ema(beta, debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )


def lion(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule | None = 1e-3,
    mask: Mask = None,
) -> GradientTransformation:
    """Lion: the sign of momentum and gradient together, with decoupled weight decay.

        u = -learning_rate (sign(b1 mu + (1 - b1) g) + weight_decay p)

    Source: Chen et al. (2023), algorithm 2.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
