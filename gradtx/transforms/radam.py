"""Adam that waits until its second moment can be trusted."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import (
    MOMENTUM,
    NON_NEGATIVE,
    UNIT,
    ScalarOrSchedule,
)
from gradtx.core.leafwise import leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, as_dtype, bias_correction
from gradtx.kinds import checked, finite

# The variance is finite above an average of 4 updates: from there on the root has a real value.
Length = Annotated[float, finite("a finite number of at least 4", lambda x: x >= 4)]


@checked
def scale_by_radam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: Length = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Scale each update as Adam does, rectified, or by its first moment alone while that is unsafe.

        rho_inf = 2 / (1 - b2) - 1        rho = rho_inf - 2 step b2^step / (1 - b2^step)
        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        u = r m_hat / (sqrt(v_hat + eps_root) + eps)  if rho > threshold else  m_hat

    with m_hat and v_hat as in `scale_by_adam`. `rho` is the length of the simple average that the
    second moment amounts to: close to `step` at first, and never above `rho_inf`. `mu` and `nu` are
    like `params`, in at least float32.

    Args:
        b1: decay of the first moment `mu`, in [0, 1); a number, a schedule or a JAX scalar, like
            all that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        threshold: length `rho` above which the second moment is used, in updates, at least 4.
        nesterov: whether `m_hat` looks one step ahead.

    Raises:
        ValueError: if `b1` or `b2` is a number outside [0, 1), an `eps` one below 0, or `threshold`
            below 4.

    Source: Liu et al. (2020), algorithm 2, which has the threshold 4; 5 is that of the authors'
    code, PyTorch, Optax and fastai.
    """

    def update(h: Any):
        c1, c2 = bias_correction(h.b1, h.step), bias_correction(h.b2, h.step)
        ahead = bias_correction(h.b1, h.step + 1)
        rho, rho_inf = average_length(h.b2, h.step), (1 + h.b2) / (1 - h.b2)
        sure = rho > as_dtype(threshold, rho.dtype)
        # Where it is not used, the root's argument may be negative or infinite.
        trusted = jnp.where(sure, rho, 5.0)
        limit = jnp.where(sure, rho_inf, 5.0)
        ratio = (trusted - 4) / (limit - 4) * ((trusted - 2) / (limit - 2)) * (limit / trusted)
        factor = jnp.where(sure, root(ratio), 1)

        def rule(g, p, mu, nu):
            del p
            mu = h.b1 * mu + (1 - h.b1) * g
            nu = h.b2 * nu + (1 - h.b2) * abs_sq(g)
            m_hat = h.b1 * mu / ahead + (1 - h.b1) * g / c1 if nesterov else mu / c1
            v_hat = nu / c2 + h.eps_root
            # Nothing is divided by a root that is not used, which may be 0.
            u = factor * m_hat / jnp.where(sure, root(v_hat) + h.eps, 1)
            return u, {"mu": mu, "nu": nu}

        return rule

    return leafwise(
        "scale_by_radam",
        update,
        slots={"mu": zeros(), "nu": zeros(real=True)},
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
        eps_root=(eps_root, NON_NEGATIVE),
    )


def average_length(decay: jax.Array, step: jax.Array) -> jax.Array:
    """The length of the simple average with the center of mass of an exponential one.

        rho = 2 / (1 - decay) - 1 - 2 step decay^step / (1 - decay^step)

    At first this is a small difference of large numbers, which float32 gets wrong in the third
    digit; with a = -log(decay) it is coth(a / 2) - 2 step / (exp(a step) - 1), whose series is used
    while a step is small.

    >>> import jax.numpy as jnp
    >>> round(float(average_length(jnp.float32(0.999), jnp.float32(6))), 4)
    5.9942

    Args:
        decay: decay of the exponential average, in [0, 1).
        step: number of its terms so far, a float of the same dtype.
    """
    a = -jnp.log1p(decay - 1)
    t2 = step * step
    series = step - a * ((t2 - 1) / 6 - a * a * ((t2 * t2 - 1) / 360 - a * a * (t2**3 - 1) / 15120))
    exact = (1 + decay) / (1 - decay) - 2 * step / jnp.expm1(a * step)
    # Where the two forms are equally good: the series leaves out a term of (a step)^7 / step.
    small = 0.05 if a.dtype == jnp.float64 else 0.5
    return jnp.where(a * step < small, series, exact)
