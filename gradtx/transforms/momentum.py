"""Momentum."""

from typing import Any

from gradtx.core.hyperparams import ANY_MOMENTUM, MOMENTUM, REAL, UNIT, ScalarOrSchedule, optional
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import bias_correction
from gradtx.kinds import Dtype, checked


@checked
def scale_by_momentum(
    momentum: ScalarOrSchedule = 0.9,
    *,
    dampening: bool | ScalarOrSchedule = False,
    nesterov: bool = False,
    velocity_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Replace each update by a decaying sum of the updates so far.

        trace' = momentum trace + (1 - dampening) g
        u      = momentum trace' + (1 - dampening) g  if nesterov else  trace'

    `dampening=False` is 0, a sum that grows to g / (1 - momentum) under a constant gradient;
    `dampening=True` is `momentum` itself, an exponential average. `trace` is like `params`; the
    result has the dtype of the gradient.

    >>> import jax.numpy as jnp
    >>> tx = scale_by_momentum(0.5)
    >>> state = tx.init(jnp.zeros(1))
    >>> for _ in range(3):
    ...     u, state = tx.update(jnp.ones(1), state)
    >>> u.tolist()  # 1 + 1/2 + 1/4
    [1.75]

    Args:
        momentum: decay of the sum, finite; a number, a schedule or a JAX scalar, like all
            that have an interval.
        dampening: what is left out of each gradient, in [0, 1); `True` is `momentum`, `False` is 0.
        nesterov: whether the step looks one step ahead.
        velocity_dtype: dtype of `trace`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `momentum` is an infinite number, `dampening` one outside [0, 1).

    Source: Polyak (1964); the Nesterov form is that of Sutskever et al. (2013), section 2.
    """
    given = None if isinstance(dampening, bool) else dampening

    def update(h: Any):
        damp = h.momentum if dampening is True else 0.0 if h.dampening is None else h.dampening

        def rule(g, p, trace):
            del p
            g = (1 - damp) * g
            trace = h.momentum * trace + g
            u = h.momentum * trace + g if nesterov else trace
            return u, {"trace": trace}

        return rule

    return leafwise(
        "scale_by_momentum",
        update,
        slots={"trace": zeros(velocity_dtype)},
        momentum=(momentum, ANY_MOMENTUM),
        dampening=optional(given, UNIT),
    )


@checked
def trace(
    decay: ScalarOrSchedule, nesterov: bool = False, accumulator_dtype: Dtype | None = None
) -> GradientTransformationExtraArgs:
    """Undampened `scale_by_momentum` under Optax's name; the hyperparameter is `momentum`.

        trace' = decay trace + g
        u      = decay trace' + g  if nesterov else  trace'

    Args:
        decay: decay of the sum, finite; a number, a schedule or a JAX scalar.
        nesterov: whether the step looks one step ahead.
        accumulator_dtype: dtype of `trace`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `decay` is an infinite number.

    Source: Optax's function of that name.
    """
    return scale_by_momentum(decay, nesterov=nesterov, velocity_dtype=accumulator_dtype)


@checked
def ema(
    decay: ScalarOrSchedule, debias: bool = True, accumulator_dtype: Dtype | None = None
) -> GradientTransformationExtraArgs:
    """Replace each update by the exponential average of the updates so far.

        ema' = decay ema + (1 - decay) g        u = ema' / (1 - decay^step)  if debias else  ema'

    `ema` is like `params`.

    Args:
        decay: decay of the average, in [0, 1); a number, a schedule or a JAX scalar;
            any that is finite without `debias`.
        debias: whether the average, which starts at 0, is corrected for it.
        accumulator_dtype: dtype of `ema`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `decay` is a number outside its interval.

    Source: Optax's function of that name; Kingma and Ba (2015), section 3, for the correction.
    """

    def update(h: Any):
        c = bias_correction(h.decay, h.step) if debias else 1.0

        def rule(g, p, ema):
            del p
            ema = h.decay * ema + (1 - h.decay) * g
            return ema / c, {"ema": ema}

        return rule

    domain = MOMENTUM if debias else ANY_MOMENTUM
    return leafwise("ema", update, slots={"ema": zeros(accumulator_dtype)}, decay=(decay, domain))


@checked
def momentum_of_steps(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule = 0.9,
    *,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    velocity_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Descend with momentum that sums steps, not gradients: the learning rate goes into it.

        velocity' = momentum velocity + learning_rate g
        u         = -(momentum velocity' + learning_rate g)  if nesterov else  -velocity'
        u         = u - learning_rate weight_decay p      if there is weight decay

    Under a constant learning rate this is `scale_by_momentum` and then `scale_by_learning_rate`;
    when the rate falls, the larger steps of the past still echo here. It is the last link of
    `rmsprop` and `lars`.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        momentum: decay of the velocity, finite.
        nesterov: whether the step looks one step ahead.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        velocity_dtype: dtype of `velocity`; by default that of the parameter, at least float32.

    Raises:
        ValueError: for a number outside its interval; on `update`, without `params` though there
            is weight decay.

    Source: Tieleman and Hinton's RMSProp as TensorFlow implements it; You et al. (2017) for LARS.
    """

    def update(h: Any):
        def rule(g, p, velocity):
            step = h.learning_rate * g
            velocity = h.momentum * velocity + step
            u = h.momentum * velocity + step if nesterov else velocity
            decay = 0.0 if h.weight_decay is None else h.learning_rate * h.weight_decay * p
            return -u - decay, {"velocity": velocity}

        return rule

    return leafwise(
        "momentum_of_steps",
        update,
        slots={"velocity": zeros(velocity_dtype)},
        needs_params=weight_decay is not None,
        learning_rate=(learning_rate, REAL),
        momentum=(momentum, ANY_MOMENTUM),
        weight_decay=optional(weight_decay, REAL),
    )
