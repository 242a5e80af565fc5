"""Gradient descent, with momentum if it is given, or by the gradient's sign alone."""

from functools import partial

from gradtx.core.chain import chain
from gradtx.core.hyperparams import UNIT, ScalarOrSchedule, check_hyperparam
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.optimizers.terms import decayed, optional
from gradtx.transforms.learning_rate import scale_by_learning_rate, scale_by_sign
from gradtx.transforms.momentum import ema, scale_by_momentum
from gradtx.transforms.weight_decay import add_l2


@checked
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    accumulator_dtype: Dtype | None = None,
    *,
    dampening: bool | ScalarOrSchedule = False,
    weight_decay: ScalarOrSchedule | None = None,
    l2: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """Stochastic gradient descent, with momentum if it is given.

        g         = grad + l2 p
        velocity' = momentum velocity + (1 - dampening) g        or g without momentum
        u         = -learning_rate (velocity' + weight_decay p)

    `None` leaves a term out, and its memory with it. Whether there is momentum is thus fixed here;
    its value is a runtime hyperparameter.

    >>> import jax.numpy as jnp
    >>> tx = sgd(0.5, momentum=0.9)
    >>> tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0].tolist()
    [-0.5]

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the velocity, finite; `None` means no momentum.
        nesterov: whether the step is `momentum velocity' + (1 - dampening) g` in place
            of `velocity'`.
        accumulator_dtype: dtype of the velocity; by default that of the parameter, at least
            float32.
        dampening: what is left out of each gradient, in [0, 1); `True` is `momentum`, `False` is 0.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay` or `l2`.

    Source: Robbins and Monro (1951); Polyak (1964) for momentum.
    """
    if momentum is None and not isinstance(dampening, bool):
        check_hyperparam("sgd", "dampening", dampening, UNIT)  # though nothing heeds it
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


@checked
def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Only the sign of each gradient.

        u = -learning_rate sign(g)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `learning_rate` is an infinite number.

    Source: Bernstein et al. (2018), algorithm 1.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@checked
def signum(
    learning_rate: ScalarOrSchedule,
    beta: ScalarOrSchedule = 0.9,
    accumulator_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """The sign of an average of the gradients.

        ema' = beta ema + (1 - beta) g        u = -learning_rate sign(ema')

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        beta: decay of the average `ema`, finite.
        accumulator_dtype: dtype of `ema`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Bernstein et al. (2018), algorithm 2.
    """
    return chain(
        ema(beta, debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )
