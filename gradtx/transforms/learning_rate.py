"""The last link of a chain, the step's size and direction; and other plain factors."""

import jax.numpy as jnp

from gradtx.core.hyperparams import REAL, ScalarOrSchedule, Schedule
from gradtx.core.leafwise import leafwise
from gradtx.core.transformation import GradientTransformationExtraArgs, identity
from gradtx.kinds import checked


@checked
def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True
) -> GradientTransformationExtraArgs:
    """Multiply the updates by the learning rate and turn them downhill.

        u = -learning_rate g        (+ without `flip_sign`, to climb)

    Without a learning rate the updates stay as they are, as in Optax.

    >>> import jax.numpy as jnp
    >>> tx = scale_by_learning_rate(0.5)
    >>> tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0].tolist()
    [-0.5, -0.5]

    Args:
        learning_rate: factor of the updates, finite; `None` leaves them as they are; a number,
            a schedule or a JAX scalar.
        flip_sign: whether the updates change their sign, which turns them downhill.

    Raises:
        ValueError: if `learning_rate` is an infinite number.

    Source: Optax's function of that name.
    """
    if learning_rate is None:
        return identity()
    sign = -1 if flip_sign else 1
    return leafwise(
        "scale_by_learning_rate",
        lambda h: lambda g, p: sign * h.learning_rate * g,
        learning_rate=(learning_rate, REAL),
    )


@checked
def scale(step_size: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Multiply the updates by a number of either sign.

        u = step_size g

    Args:
        step_size: factor of the updates, of either sign, finite; a number, a schedule or a JAX
            scalar.

    Raises:
        ValueError: if `step_size` is an infinite number.

    Source: Optax's function of that name.
    """
    return leafwise("scale", lambda h: lambda g, p: h.step_size * g, step_size=(step_size, REAL))


@checked
def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformationExtraArgs:
    """Multiply the updates by the value of a schedule: `scale`, which takes one too.

        u = step_size_fn(count) g

    Args:
        step_size_fn: schedule of the factor.

    Source: Optax's function of that name.
    """
    return scale(step_size_fn)


def scale_by_sign() -> GradientTransformationExtraArgs:
    """Keep only the sign of each update.

        u = sign(g)

    Source: Bernstein et al. (2018), algorithm 1.
    """
    return leafwise("scale_by_sign", lambda h: lambda g, p: jnp.sign(g))
