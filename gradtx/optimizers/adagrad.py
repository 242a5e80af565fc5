"""Adagrad, which sums squares for ever, and Adadelta, which lets them decay."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import NonNegative, checked
from gradtx.optimizers.terms import optional
from gradtx.transforms.adadelta import scale_by_adadelta
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.rss import scale_by_rss
from gradtx.transforms.weight_decay import add_decayed_weights


@checked
def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: NonNegative = 0.1,
    eps: ScalarOrSchedule = 1e-7,
) -> GradientTransformationExtraArgs:
    """Adagrad: the gradient over the root of the sum of all squares so far.

        sum_of_squares' = sum_of_squares + g^2
        u               = -learning_rate g / sqrt(sum_of_squares' + eps)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        initial_accumulator_value: what the sum starts at, 0 or more.
        eps: added under the root, in [0, inf).

    Raises:
        ValueError: if `initial_accumulator_value` is negative or a number lies outside its
            interval.

    Source: Duchi et al. (2011), figure 1.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate)
    )


@checked
def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Adadelta: steps in proportion to the steps so far.

        g = grad + weight_decay p        u = -learning_rate g sqrt(e_x + eps) / sqrt(e_g' + eps)

    Optax's defaults: `weight_decay` is an L2 term, before the scaling. Without a learning rate,
    which the paper does not have, the direction is not turned downhill: Optax climbs there too.

    Args:
        learning_rate: factor of the step, finite; `None` leaves it out, and the sign with it;
            a number, a schedule or a JAX scalar, like all that have an interval.
        rho: decay of the averages `e_g` and `e_x`, in [0, 1).
        eps: added under both roots, in [0, inf).
        weight_decay: coefficient of an L2 penalty, finite.
        weight_decay_mask: where to add it: a tree of bools like the parameters or a prefix of it, a
            function from the parameters to one, or a pattern of paths; everywhere by default.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params`.

    Source: Zeiler (2012), algorithm 1.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        *optional(scale_by_learning_rate, learning_rate),
    )
