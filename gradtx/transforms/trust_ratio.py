"""A step for each layer in proportion to the size of its parameters."""

from typing import Any

import jax.numpy as jnp

from gradtx.core.hyperparams import NON_NEGATIVE, POSITIVE, ScalarOrSchedule, optional
from gradtx.core.leafwise import leafwise
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import norm
from gradtx.kinds import checked


@checked
def scale_by_trust_ratio(
    min_norm: ScalarOrSchedule = 0.0,
    trust_coefficient: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 0.0,
    *,
    max_ratio: ScalarOrSchedule | None = None,
) -> GradientTransformationExtraArgs:
    """Multiply each leaf's update by the ratio of its parameter's norm to the update's.

        ratio = trust_coefficient max(|p|, min_norm) / (max(|g|, min_norm) + eps)
        u     = min(ratio, max_ratio) g        the ratio is 1 where either norm is 0

    Norms are of whole leaves, in at least float32.

    Args:
        min_norm: least value of both norms, in [0, inf); a number, a schedule or a JAX scalar, like
            all that have an interval.
        trust_coefficient: factor of the ratio, in [0, inf).
        eps: added to the update's norm, in [0, inf).
        max_ratio: bound of the ratio, in (0, inf); `None` means no bound.

    Raises:
        ValueError: for a number outside its interval; on `update`, without `params`.

    Source: You et al. (2017), equation 6; You et al. (2020), algorithm 2, for the bound.
    """

    def update(h: Any):
        bounded = lambda x: jnp.maximum(norm(x), h.min_norm)

        def rule(g, p):
            of_p, of_g = bounded(p), bounded(g)
            zero = (of_p == 0) | (of_g == 0)
            ratio = h.trust_coefficient * of_p / jnp.where(zero, 1, of_g + h.eps)
            if h.max_ratio is not None:
                ratio = jnp.minimum(ratio, h.max_ratio)
            return g * jnp.where(zero, 1, ratio)

        return rule

    return leafwise(
        "scale_by_trust_ratio",
        update,
        needs_params=True,
        min_norm=(min_norm, NON_NEGATIVE),
        trust_coefficient=(trust_coefficient, NON_NEGATIVE),
        eps=(eps, NON_NEGATIVE),
        max_ratio=optional(max_ratio, POSITIVE),
        per_leaf=True,
    )


@checked
def scale_by_larc(
    trust_coefficient: ScalarOrSchedule = 0.02,
    eps: ScalarOrSchedule = 1e-8,
    *,
    clip: bool = True,
) -> GradientTransformationExtraArgs:
    """LARS whose ratio only ever makes the step smaller.

        ratio = trust_coefficient |p| / (|g| + eps)
        u     = min(ratio, 1) g  if clip else  ratio g

    The ratio of a leaf of zeros is 0, so that no gradient moves it.

    Args:
        trust_coefficient: factor of the ratio, in [0, inf); a number, a schedule or a JAX scalar,
            like all that have an interval.
        eps: added to the update's norm, in [0, inf).
        clip: whether the ratio is at most 1.

    Raises:
        ValueError: for a number outside its interval; on `update`, without `params`.

    Source: fastai's Larc, without weight decay; NVIDIA's Apex introduced the bound.
    """

    def update(h: Any):
        def rule(g, p):
            ratio = h.trust_coefficient * norm(p) / (norm(g) + h.eps)
            return g * (jnp.minimum(ratio, 1) if clip else ratio)

        return rule

    return leafwise(
        "scale_by_larc",
        update,
        needs_params=True,
        trust_coefficient=(trust_coefficient, NON_NEGATIVE),
        eps=(eps, NON_NEGATIVE),
        per_leaf=True,
    )
