"""Schedules: pure functions of the step, `count -> value`.

`count` is the number of updates made before this one, an integer or an int32 array; the value is a
float32 array of its shape (float64 where JAX's x64 mode is on). In formulas `t` is `count` and
`f(t)` the value. Positions are kept in integers as long as possible, so a boundary between two
phases is never missed by rounding.

Beside gradtx's names there are Optax's (`cosine_decay_schedule` and so on), with Optax's parameters
and values, and all else of `optax.schedules`, handed through.
"""

from optax import schedules as theirs
from optax.schedules import (
    InjectHyperparamsState,
    InjectStatefulHyperparamsState,
    StatefulSchedule,
    WrappedSchedule,
    inject_hyperparams,
    inject_stateful_hyperparams,
)

from gradtx.core.hyperparams import Schedule
from gradtx.core.newer_names import newer_names
from gradtx.schedules import curves, optax_names, optax_onecycle
from gradtx.schedules.composite import combine, join, piecewise, sgdr, warmup
from gradtx.schedules.cycles import OneCycle, flat_cos, one_cycle
from gradtx.schedules.optax_names import *
from gradtx.schedules.optax_onecycle import *
from gradtx.schedules.simple import (
    constant,
    cosine,
    exponential,
    half_life,
    inverse_sqrt,
    linear,
    polynomial,
)

__all__ = [
    "OneCycle",
    "combine",
    "constant",
    "cosine",
    "curves",
    "exponential",
    "flat_cos",
    "half_life",
    "inverse_sqrt",
    "join",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "sgdr",
    "warmup",
]
__all__ += optax_names.__all__
__all__ += optax_onecycle.__all__
__all__ += [
    "InjectHyperparamsState",
    "InjectStatefulHyperparamsState",
    "Schedule",
    "StatefulSchedule",
    "WrappedSchedule",
    "inject_hyperparams",
    "inject_stateful_hyperparams",
]

__getattr__ = newer_names(__name__, theirs)
