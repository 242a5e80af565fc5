"""Composable gradient transformations for JAX, and the training system around them.

This module is the optimizer library, and needs jax and optax alone: everything of `gradtx.core`,
`gradtx.transforms`, `gradtx.wrappers` and `gradtx.optimizers` is here too, and of
`gradtx.schedules` what has Optax's names. The training loop is `gradtx.loop`, its ready hooks are
`gradtx.hooks`, the property-testing kit is `gradtx.testing`.
"""

from gradtx import core, optimizers, schedules, transforms, wrappers
from gradtx.core import *
from gradtx.optimizers import *
from gradtx.schedules import optax_names, optax_onecycle
from gradtx.schedules.optax_names import *
from gradtx.schedules.optax_onecycle import *
from gradtx.transforms import *
from gradtx.wrappers import *

__all__ = ["schedules"]
__all__ += core.__all__
__all__ += optimizers.__all__
__all__ += optax_names.__all__
__all__ += optax_onecycle.__all__
__all__ += transforms.__all__
__all__ += wrappers.__all__
