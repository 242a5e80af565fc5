"""fastai's optimizers; the table in `gradtx.optimizers.presets` translates their arguments."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import norm, rms
from gradtx.kinds import Count, alias, checked
from gradtx.optimizers.adam import adamw
from gradtx.optimizers.qhadam import qhadam
from gradtx.optimizers.radam import radam
from gradtx.optimizers.sgd import sgd
from gradtx.optimizers.terms import decayed, optional
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.lookahead import lookahead
from gradtx.transforms.stats import (
    adam_step,
    average_grad,
    average_sqr_grad,
    rms_prop_step,
    scale_by_stats,
)
from gradtx.transforms.weight_decay import add_l2

Decay = ScalarOrSchedule | None


@checked
def fastai_sgd(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: ScalarOrSchedule | None = None,
    weight_decay: Decay = None,
    l2: Decay = None,
) -> GradientTransformationExtraArgs:
    """`sgd` with undampened momentum, which is also its default.

        velocity' = momentum velocity + grad + l2 p
        u         = -learning_rate (velocity' + weight_decay p)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the velocity, finite; `None` means no momentum.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay` or `l2`.

    Source: fastai's `SGD`.
    """
    return sgd(learning_rate, momentum, weight_decay=weight_decay, l2=l2)


@checked
def fastai_rmsprop(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: ScalarOrSchedule | None = None,
    decay: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: Decay = None,
    l2: Decay = None,
) -> GradientTransformationExtraArgs:
    """RMSProp with the momentum on the gradient, before it is scaled.

        g         = grad + l2 p
        grad_avg' = momentum grad_avg + g        sqr_avg' = decay sqr_avg + (1 - decay) g^2
        u         = -learning_rate (grad_avg' / (sqrt(sqr_avg') + eps) + weight_decay p)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the sum of gradients, in [0, 1); `None` means no momentum.
        decay: decay of the mean square, in [0, 1).
        eps: added to the root, in [0, inf).
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay` or `l2`.

    Source: fastai's `RMSProp`.
    """
    statistics = (*optional(average_grad, momentum), average_sqr_grad(decay))
    return chain(
        *optional(add_l2, l2),
        scale_by_stats(*statistics, step=rms_prop_step, eps=eps),
        *decayed(weight_decay),
        scale_by_learning_rate(learning_rate),
    )


@checked
def fastai_adam(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-5,
    weight_decay: Decay = 0.01,
    l2: Decay = None,
) -> GradientTransformationExtraArgs:
    """`adamw` with fastai's numbers.

        u = -learning_rate (m_hat / (sqrt(v_hat) + eps) + weight_decay p)        of grad + l2 p

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay` or `l2`.

    Source: fastai's `Adam`.
    """
    tail = adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay)
    return tail if l2 is None else chain(add_l2(l2), tail)


@checked
def fastai_radam(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 0.0,
    weight_decay: Decay = 0.0,
) -> GradientTransformationExtraArgs:
    """`radam` with fastai's numbers.

        u = -learning_rate (r m_hat / (sqrt(v_hat) + eps) + weight_decay p)
            where rho > 5, else  -learning_rate (m_hat + weight_decay p)

    `scale_by_radam` has the formulas of `rho` and `r`.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: fastai's `RAdam`; Liu et al. (2020), algorithm 2.
    """
    return radam(learning_rate, b1, b2, eps, weight_decay=weight_decay)


fastai_qhadam = alias("fastai_qhadam", qhadam)


@checked
def fastai_ranger(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ScalarOrSchedule = 0.95,
    weight_decay: Decay = 0.01,
    eps: ScalarOrSchedule = 1e-6,
    sync_period: Count = 6,
    slow_step_size: ScalarOrSchedule = 0.5,
) -> GradientTransformationExtraArgs:
    """`lookahead` around `fastai_radam`.

        every sync_period-th update:   slow' = slow + slow_step_size (p + fast - slow)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        eps: added to the root of the second moment, in [0, inf).
        sync_period: number of updates from one synchronization to the next, at least 1.
        slow_step_size: share of the way that `slow` goes to the fast parameters, finite.

    Raises:
        ValueError: if a number lies outside its interval or `sync_period` is not positive; on
            `update`, without `params`.

    Source: fastai's `ranger`; Zhang et al. (2019), algorithm 1, for `lookahead`.
    """
    fast = fastai_radam(learning_rate, b1=b1, eps=eps, weight_decay=weight_decay)
    return lookahead(fast, sync_period, slow_step_size)


@checked
def fastai_larc(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: ScalarOrSchedule | None = 0.9,
    trust_coefficient: ScalarOrSchedule = 0.02,
    eps: ScalarOrSchedule = 1e-8,
    clip: bool = True,
    weight_decay: ScalarOrSchedule = 0.0,
) -> GradientTransformationExtraArgs:
    """Momentum whose learning rate is bounded by each layer's own.

        q     = p (1 - learning_rate weight_decay)        grad_avg' = momentum grad_avg + g
        local = learning_rate trust_coefficient |q| / (|g| + weight_decay |q| + eps)
        u     = q - p - min(local, learning_rate) grad_avg'      or  local grad_avg'  without clip

    A leaf of zeros moves by no gradient, since |q| is 0.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the sum of gradients, in [0, 1); `None` means no momentum.
        trust_coefficient: factor of the ratio, in [0, inf).
        eps: added to the ratio's denominator, in [0, inf).
        clip: whether the layer's own rate is at most the learning rate.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: fastai's `Larc`.
    """

    def step(h: Any):
        shrink = h.learning_rate * h.weight_decay

        def rule(g: jax.Array, p: jax.Array, *, grad_avg: Any = None) -> jax.Array:
            size = (1 - shrink) * norm(p)
            own = size / (norm(g) + h.weight_decay * size + h.eps)
            local = h.learning_rate * h.trust_coefficient * own
            local = jnp.minimum(local, h.learning_rate) if clip else local
            return -shrink * p - local * (g if grad_avg is None else grad_avg)

        return rule

    return scale_by_stats(
        *optional(average_grad, momentum),
        step=step,
        name="fastai_larc",
        needs_params=True,
        learning_rate=learning_rate,
        trust_coefficient=trust_coefficient,
        eps=eps,
        weight_decay=weight_decay,
    )


@checked
def fastai_lamb(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-5,
    weight_decay: ScalarOrSchedule = 0.0,
) -> GradientTransformationExtraArgs:
    """LAMB with decay outside the ratio, which is at most 10.

        q = p (1 - learning_rate weight_decay)        a = m_hat / (sqrt(v_hat) + eps)
        u = q - p - learning_rate min(rms(q) / rms(a), 10) a        the ratio is 1 where one is 0

    As runtime hyperparameters b1 and b2 are called `momentum` and `decay`.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: fastai's `Lamb`; You et al. (2020), algorithm 2.
    """

    def step(h: Any):
        adam, shrink = adam_step(h), h.learning_rate * h.weight_decay

        def rule(g: jax.Array, p: jax.Array, **averages: jax.Array) -> jax.Array:
            a = adam(g, p, **averages)
            top, bottom = (1 - shrink) * rms(p), rms(a)
            zero = (top == 0) | (bottom == 0)
            ratio = jnp.where(zero, 1, jnp.minimum(top / jnp.where(zero, 1, bottom), 10))
            return -shrink * p - h.learning_rate * ratio * a

        return rule

    return scale_by_stats(
        average_grad(b1, dampening=True),
        average_sqr_grad(b2),
        step=step,
        name="fastai_lamb",
        needs_params=True,
        learning_rate=learning_rate,
        eps=eps,
        weight_decay=weight_decay,
    )
