"""Terms of an optimizer's chain that may be left out: L2, momentum, decay."""

from collections.abc import Callable
from typing import Any, TypeVar

from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
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
        mask: a tree of bools, a function from the parameters to one, or a pattern of paths.
    """
    return optional(lambda value: add_decayed_weights(value, mask), weight_decay)
