"""ADOPT: Adam that converges with any decay of the second moment."""

from collections.abc import Callable
from typing import Any

import jax

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.adopt import scale_by_adopt
from gradtx.transforms.learning_rate import scale_by_learning_rate


@checked
def adopt(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-6,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[jax.Array], Any] = lambda x: x**0.25,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """ADOPT: each gradient is scaled by the second moment of those before it.

        u = -learning_rate (mu' + weight_decay p)
        mu' = b1 mu + (1 - b1) clip(g / max(sqrt(nu), eps), -c, c)        c = clip_value_fn(count)

    The first update only starts the second moment, and moves nothing but by weight decay. The state
    has 8 bytes a parameter in float32, as Adam's.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the average `mu`, in [0, 1).
        b2: decay of the second moment `nu`, in [0, 1).
        eps: the least that a gradient is divided by, in [0, inf).
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nesterov: whether the average looks one step ahead.
        use_clipping: whether scaled gradients are clipped.
        clip_value_fn: maps the updates made so far, int32[], to the bound c.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.
        nu_dtype: dtype of `nu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Taniguchi et al. (2024), "ADOPT: modified Adam can converge with any beta2 with the
    optimal rate", algorithm 2.
    """
    return chain(
        scale_by_adopt(
            b1,
            b2,
            eps,
            mu_dtype,
            nesterov=nesterov,
            use_clipping=use_clipping,
            clip_value_fn=clip_value_fn,
            nu_dtype=nu_dtype,
        ),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
