"""The core: what a transformation is, and what is made of transformations.

The modules here import each other's files, never this package, and nothing else of gradtx.
"""

from optax import GradientTransformation, set_to_zero

import gradtx.core.exported  # noqa: F401  (lets jax.export write states)
from gradtx.core.apply import apply_updates
from gradtx.core.chain import chain
from gradtx.core.describe import Description, describe
from gradtx.core.freeze import freeze, freeze_gradients, selective_transform
from gradtx.core.groups import (
    by_group,
    discriminative,
    label_by,
    matching,
    norm_or_bias,
    vector_or_scalar,
)
from gradtx.core.hyperparams import (
    CLOSED_UNIT,
    MOMENTUM,
    NON_NEGATIVE,
    POSITIVE,
    REAL,
    UNIT,
    Interval,
    PerGroup,
    ScalarOrSchedule,
    Schedule,
)
from gradtx.core.interop import from_optax, to_optax
from gradtx.core.leafwise import Slot, leafwise, zeros
from gradtx.core.partition import masked, multi_transform, partition
from gradtx.core.runtime_hyperparams import hyperparams, names_with_role, set_hyperparams
from gradtx.core.serialize import from_dict, to_dict
from gradtx.core.state import TransformState
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    identity,
    transformation,
)

__all__ = [
    "CLOSED_UNIT",
    "MOMENTUM",
    "NON_NEGATIVE",
    "POSITIVE",
    "REAL",
    "UNIT",
    "Description",
    "GradientTransformation",
    "GradientTransformationExtraArgs",
    "Interval",
    "PerGroup",
    "ScalarOrSchedule",
    "Schedule",
    "Slot",
    "TransformState",
    "apply_updates",
    "by_group",
    "chain",
    "describe",
    "discriminative",
    "freeze",
    "freeze_gradients",
    "from_dict",
    "from_optax",
    "hyperparams",
    "identity",
    "label_by",
    "leafwise",
    "masked",
    "matching",
    "multi_transform",
    "names_with_role",
    "norm_or_bias",
    "partition",
    "selective_transform",
    "set_hyperparams",
    "set_to_zero",
    "to_dict",
    "to_optax",
    "transformation",
    "vector_or_scalar",
    "zeros",
]
