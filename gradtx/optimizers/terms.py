"""Terms of an optimizer's chain that may be left out: L2, momentum, decay, where a mask says so."""

from collections.abc import Callable
from typing import Any, TypeVar

from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask, masked
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.transforms.weight_decay import add_decayed_weights

T = TypeVar("T")


def optional(factory: Callable[[Any], T], value: ScalarOrSchedule | None) -> tuple[T, ...]:
    """`factory(value)`, or nothing if the value is `None`.

    Args:
        factory: makes a transformation from one hyperparameter.
        value: that hyperparameter, or `None` for no such term; a number, a schedule or a JAX
            scalar.
    """
    return () if value is None else (factory(value),)


def decayed(weight_decay: ScalarOrSchedule | None, mask: Mask | None = None) -> tuple:
    """Decoupled weight decay where `mask` says so, or nothing if it is `None`.

    Args:
        weight_decay: the decay, finite, or `None` for no such term; a number, a schedule or a
            JAX scalar.
        mask: a tree of bools or a function from the parameters to one.
    """
    return optional(lambda value: add_decayed_weights(value, mask), weight_decay)


def masked_by(tx: GradientTransformationExtraArgs, mask: Mask) -> GradientTransformationExtraArgs:
    """`tx` where `mask` says so; everywhere if it is `True` or `None`.

    Args:
        tx: the transformation.
        mask: a tree of bools, a function from the parameters to one, `True` or `None`.
    """
    return tx if mask is None or mask is True else masked(tx, mask)
