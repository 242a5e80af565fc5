"""Moments in an order that converges with any decay of the second."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, at_most
from gradtx.kinds import Dtype, checked


@checked
def scale_by_adopt(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-6,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[jax.Array], Any] = lambda x: x**0.25,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Scale each gradient by the second moment of those before it, then average.

        first update:    u = 0        nu' = g^2
        later ones:      x   = clip(g / max(sqrt(nu), eps), -c, c)        c = clip_value_fn(count)
                         mu' = b1 mu + (1 - b1) x        u = mu'
                         nu' = b2 nu + (1 - b2) g^2

    With `nesterov`, u looks one step ahead: b1 mu' + (1 - b1) x. Of a complex number the absolute
    value is clipped. `mu` and `nu` are like `params`: 8 bytes a parameter in float32.

    Args:
        b1: decay of the average `mu`, in [0, 1); a number, a schedule or a JAX scalar, like all
            that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        eps: the least that a gradient is divided by, in [0, inf).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nesterov: whether u looks one step ahead.
        use_clipping: whether scaled gradients are clipped.
        clip_value_fn: maps the updates made so far, int32[], to the bound c.
        nu_dtype: dtype of `nu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Taniguchi et al. (2024), "ADOPT: modified Adam can converge with any beta2 with the
    optimal rate", algorithm 2 and, without clipping, algorithm 1.
    """

    def update(h: Any):
        first = h.count == 0
        bound = None
        if use_clipping:
            with jax.numpy_dtype_promotion("standard"):
                bound = jnp.asarray(clip_value_fn(h.count)).astype(h.step.dtype)

        def rule(g, p, mu, nu):
            del p
            # At the first update `nu` is 0 and nothing is divided by it, not even unseen.
            x = g / jnp.where(first, 1, jnp.maximum(root(nu), h.eps))
            if bound is not None:
                x = jnp.clip(x, -bound, bound) if jnp.isrealobj(x) else x * at_most(abs(x), bound)
            new = jnp.where(first, mu, h.b1 * mu + (1 - h.b1) * x)
            u = jnp.where(first, new, h.b1 * new + (1 - h.b1) * x) if nesterov else new
            square = abs_sq(g)
            nu = jnp.where(first, square, h.b2 * nu + (1 - h.b2) * square)
            return u, {"mu": new, "nu": nu}

        return rule

    return leafwise(
        "scale_by_adopt",
        update,
        slots={"mu": zeros(mu_dtype), "nu": zeros(nu_dtype, real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
    )
