"""Composable gradient transformations for JAX, and the training system around them.

This module needs jax and optax alone. The training loop is `gradtx.loop`, its ready hooks are
`gradtx.hooks`, the property-testing kit is `gradtx.testing`. Everything of `gradtx.transforms`,
`gradtx.optimizers` and `gradtx.wrappers` is here too, and of `gradtx.schedules` what has Optax's
names.
"""

from gradtx import optimizers, schedules, transforms, wrappers
from gradtx.base import (
    GradientTransformation,
    TransformState,
    apply_updates,
    chain,
    identity,
    leafwise,
    transformation,
    zeros,
)
from gradtx.describe import describe
from gradtx.groups import (
    by_group,
    discriminative,
    label_by,
    matching,
    norm_or_bias,
    vector_or_scalar,
)
from gradtx.hyper import (
    CLOSED_UNIT,
    NON_NEGATIVE,
    POSITIVE,
    REAL,
    UNIT,
    Interval,
    PerGroup,
    ScalarOrSchedule,
    Schedule,
)
from gradtx.interop import from_optax, to_optax
from gradtx.live import hyperparams, set_hyperparams
from gradtx.optimizers import *
from gradtx.partition import (
    freeze,
    masked,
    multi_transform,
    partition,
    selective_transform,
    set_to_zero,
)
from gradtx.schedules import optax_names, optax_runs
from gradtx.schedules.optax_names import *
from gradtx.schedules.optax_runs import *
from gradtx.serialize import from_dict, to_dict
from gradtx.transforms import *
from gradtx.wrappers import *

__all__ = [
    "CLOSED_UNIT",
    "NON_NEGATIVE",
    "POSITIVE",
    "REAL",
    "UNIT",
    "GradientTransformation",
    "Interval",
    "PerGroup",
    "ScalarOrSchedule",
    "Schedule",
    "TransformState",
    "apply_updates",
    "by_group",
    "chain",
    "describe",
    "discriminative",
    "freeze",
    "from_dict",
    "from_optax",
    "hyperparams",
    "identity",
    "label_by",
    "leafwise",
    "masked",
    "matching",
    "multi_transform",
    "norm_or_bias",
    "partition",
    "schedules",
    "selective_transform",
    "set_hyperparams",
    "set_to_zero",
    "to_dict",
    "to_optax",
    "transformation",
    "vector_or_scalar",
    "zeros",
]
__all__ += optimizers.__all__
__all__ += optax_names.__all__
__all__ += optax_runs.__all__
__all__ += transforms.__all__
__all__ += wrappers.__all__
