"""Scaling by the root of the sum of all squares so far."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import NON_NEGATIVE, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq
from gradtx.kinds import NonNegative, checked


@checked
def scale_by_rss(
    initial_accumulator_value: NonNegative = 0.1,
    eps: ScalarOrSchedule = 1e-7,
    *,
    eps_in_sqrt: bool = True,
) -> GradientTransformationExtraArgs:
    """Divide each update by the root of the sum of its squares so far.

        total = sum_of_squares + g^2        sum_of_squares' = total
        u     = g / sqrt(total + eps)  if eps_in_sqrt else  g / (sqrt(total) + eps)
        u     = 0  where total is 0

    `sum_of_squares` is like `params`, in at least float32; it starts at
    `initial_accumulator_value`.

    Args:
        initial_accumulator_value: what the sum starts at, 0 or more.
        eps: added to the sum, or to its root, in [0, inf); a number, a schedule or a JAX scalar.
        eps_in_sqrt: whether `eps` is added under the root.

    Raises:
        ValueError: if `initial_accumulator_value` or `eps` is negative.

    Source: Duchi et al. (2011), figure 1.
    """

    def update(h: Any):
        def rule(g, p, sum_of_squares):
            del p
            total = sum_of_squares + abs_sq(g)
            bottom = root(total + h.eps) if eps_in_sqrt else root(total) + h.eps
            some = total > 0
            u = jnp.where(some, g / jnp.where(some, bottom, 1), 0)
            return u, {"sum_of_squares": total}

        return rule

    def start(p: Any) -> jax.Array:
        return jnp.full_like(zeros(real=True)(p), initial_accumulator_value)

    return leafwise(
        "scale_by_rss", update, slots={"sum_of_squares": start}, eps=(eps, NON_NEGATIVE)
    )
