"""The two meanings of weight decay, which differ only in where they stand in a chain."""

from gradtx.core.hyperparams import REAL, ScalarOrSchedule
from gradtx.core.leafwise import leafwise
from gradtx.core.partition import Mask, masked_by
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import checked


@checked
def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None
) -> GradientTransformationExtraArgs:
    """Add a multiple of the parameters to the updates: decoupled weight decay.

        u = g + weight_decay p        where `mask` is True; elsewhere u = g

    Stands after what scales the gradient and before the learning rate, which then multiplies the
    decay too: p' = p (1 - learning_rate weight_decay) - learning_rate (scaled gradient).
    Give each group of parameters its own decay with `gradtx.by_group`.

    Args:
        weight_decay: factor of the parameters, finite; a number, a schedule or a JAX scalar.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.

    Raises:
        ValueError: if `weight_decay` is an infinite number; on `update`, without `params`.

    Source: Loshchilov and Hutter (2019), algorithm 2, line 12, times the base rate.
    """
    everywhere = leafwise(
        "add_decayed_weights",
        lambda h: lambda g, p: g + h.weight_decay * p,
        needs_params=True,
        weight_decay=(weight_decay, REAL),
    )
    return masked_by(everywhere, mask)


@checked
def add_l2(l2: ScalarOrSchedule = 0.0) -> GradientTransformationExtraArgs:
    """Add the gradient of an L2 penalty to the updates.

        u = g + l2 p        the gradient of loss + l2 / 2 |p|^2

    Stands first in a chain, so that momentum and second moments see the penalty as part of the
    gradient. For plain SGD this equals `add_decayed_weights`; for every other optimizer it does
    not.

    Args:
        l2: factor of the parameters, finite; a number, a schedule or a JAX scalar.

    Raises:
        ValueError: if `l2` is an infinite number; on `update`, without `params`.

    Source: Loshchilov and Hutter (2019), algorithm 2, line 6.
    """
    return leafwise("add_l2", lambda h: lambda g, p: g + h.l2 * p, needs_params=True, l2=(l2, REAL))
