"""Hyperparameters: a number, a schedule or a traced scalar, each with its value in the state.

A hyperparameter given as a Python or NumPy number is kept in the state and read from there at
every update, so it can be set between two updates. One given as a schedule or as a JAX scalar is
read from where it came from; the state then records the value that the last update used.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradtx.kinds import Kind, as_number, is_real, refusing, takes

Schedule = Callable[[jax.Array], Any]


def source_of(spec: Any) -> str:
    """How a hyperparameter was given: as a "number", an "array" or a "schedule"; "" if as none."""
    if isinstance(spec, jax.Array):
        return "array" if is_real(spec.dtype) else ""
    if isinstance(spec, np.ndarray | np.generic):
        return "number" if spec.dtype.kind in "fiu" else ""
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool):
        return "number"
    if callable(spec):
        return "schedule"
    return ""


def _is_value(spec: Any) -> bool:
    return bool(source_of(spec))


def _is_no_nan(spec: Any) -> bool:
    if isinstance(spec, PerGroup) or source_of(spec) == "schedule" or isinstance(spec, Tracer):
        return True
    return jnp.shape(spec) != () or not math.isnan(as_number(spec))  # shapes are checked later


VALUE = "a number, a schedule or a JAX scalar"
OneValue = Annotated[float | jax.Array | Schedule, Kind(VALUE, _is_value, _is_no_nan)]


class Interval(NamedTuple):
    """The values that a hyperparameter may take, and the part that it plays.

        low <= value < high        unless `open_low` or `closed_high`

    Args:
        low: the least value.
        high: the value that all others are below.
        open_low: whether `low` is left out.
        closed_high: whether `high` is let in.
        role: what the hyperparameter is to a training, beyond its name: "momentum" is what a
            one-cycle moves against the learning rate (see `MOMENTUM`).
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    closed_high: bool = False
    role: str = ""

    def __contains__(self, value: Any) -> bool:
        above = self.low < value if self.open_low or math.isinf(self.low) else self.low <= value
        below = value <= self.high if self.closed_high else value < self.high
        return bool(above and below)

    def __str__(self) -> str:
        left = "(" if self.open_low or math.isinf(self.low) else "["
        return f"{left}{self.low:g}, {self.high:g}{']' if self.closed_high else ')'}"


REAL = Interval()
NON_NEGATIVE = Interval(0)
POSITIVE = Interval(0, open_low=True)
UNIT = Interval(0, 1)
CLOSED_UNIT = Interval(0, 1, closed_high=True)
MOMENTUM = Interval(0, 1, role="momentum")
ANY_MOMENTUM = Interval(role="momentum")  # where nothing is divided by 1 - momentum^step


def optional(spec: Any, domain: Interval) -> tuple[Any, Interval] | None:
    """A hyperparameter as `leafwise` takes it, or None for one that is left out.

        (spec, domain)  unless spec is None

    Args:
        spec: a number, a schedule or a JAX scalar, or None.
        domain: the interval that it must lie in.
    """
    return None if spec is None else (spec, domain)


@dataclass(frozen=True)
class PerGroup:
    """A hyperparameter whose value differs between groups of parameters; `by_group` makes one.

    Args:
        labels: maps a tree of arrays to a tree of the same structure of group names.
        values: each group's number, schedule or JAX scalar.
    """

    labels: Callable[[Any], Any]
    values: Mapping[str, OneValue]


ScalarOrSchedule = Annotated[
    OneValue | PerGroup,
    Kind(VALUE, lambda spec: isinstance(spec, PerGroup) or _is_value(spec), _is_no_nan),
]


class Origin(NamedTuple):
    """What decides the next value of a hyperparameter in a state, and where it may lie.

    With source "number" the next update uses the value in the state; with "schedule" or "array" it
    uses what the transformation was built with, and records it in the state.

    Numbers and arrays are equal, so that a state made under `optax.inject_hyperparams`, which gives
    arrays, has the structure of the same one made without it.
    """

    source: str
    domain: Interval

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and hash(self) == hash(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.source == "schedule", tuple(self.domain)))


def check_hyperparam(where: str, name: str, spec: Any, domain: Interval) -> None:
    """Require that `spec` is a hyperparameter and, where it is a number, that it is in `domain`.

    Raises:
        TypeError: if it is no number, schedule (a function of the step), JAX scalar or `PerGroup`
            of those.
        ValueError: if a number lies outside `domain` or an array is not a scalar.
    """
    with refusing(spec):
        if isinstance(spec, PerGroup):
            for label, value in spec.values.items():
                _check_value(where, f"{name}[{label!r}]", value, domain)
        else:
            _check_value(where, name, spec, domain)


def _check_value(where: str, name: str, spec: Any, domain: Interval) -> None:
    source = source_of(spec)
    if not source:
        raise TypeError(
            f"{where}: `{name}` must be a number, a schedule or a JAX scalar; got"
            f" {type(spec).__name__} ({spec!r}). Pass for example {name}=0.1, or a function of the"
            " step."
        )
    if source != "schedule" and jnp.ndim(spec) != 0:
        raise ValueError(
            f"{where}: `{name}` must be a scalar; got shape {jnp.shape(spec)}. Use vmap for many"
            " values at once, or PerGroup for a value for each group of parameters."
        )
    if source != "schedule":
        check_domain(where, name, spec, domain)
    elif not takes(spec, 1):
        raise TypeError(
            f"{where}: `{name}` as a schedule must take one argument, the step; got"
            f" {getattr(spec, '__name__', type(spec).__name__)}{inspect.signature(spec)}. Write for"
            f" example {name}=lambda step: 0.1."
        )


def check_domain(where: str, name: str, value: Any, domain: Interval) -> None:
    """Require that a concrete `value` is in `domain`; a traced one can't be looked at.

    Raises:
        ValueError: naming the value and the interval.
    """
    if not isinstance(value, Tracer) and as_number(value) not in domain:
        raise ValueError(
            f"{where}: `{name}` must be in {domain}; got {as_number(value):g}. Choose a value"
            " inside."
        )


def returned(what: str, value: Any, shape: tuple[int, ...] = ()) -> jax.Array:
    """What a schedule has returned, in JAX's default float dtype.

    Args:
        what: the schedule, for the message.
        value: what it has returned.
        shape: of the steps that it was asked for; a scalar will do for all of them.

    Raises:
        TypeError: if it is no number.
        ValueError: if it has another shape, or is too large for a float.
    """
    if source_of(value) not in ("number", "array"):
        raise TypeError(
            f"{what} must return a scalar; got {type(value).__name__} ({value!r:.200}). Return one"
            " number for each step."
        )
    if jnp.shape(value) not in ((), shape):
        steps = f" for steps of shape {shape}" if shape else ""
        raise ValueError(
            f"{what} must return a scalar; got shape {jnp.shape(value)}{steps}. Return one number"
            " for each step."
        )
    if isinstance(value, int) and math.isnan(as_number(value)):
        raise ValueError(
            f"{what} must return a scalar; got an integer of {value.bit_length()} bits, too large"
            " for a float. Return one number for each step."
        )
    return jnp.asarray(value, jnp.result_type(float))


def evaluate(where: str, name: str, spec: Any, count: jax.Array) -> jax.Array:
    """The scalar that `spec` is, or is at `count`, in JAX's default float dtype.

    Raises:
        TypeError: if a schedule returns no number.
        ValueError: if it returns no scalar.
    """
    if source_of(spec) == "schedule":
        # Optax's schedules need the standard rules, whatever the program around them has set.
        with jax.numpy_dtype_promotion("standard"):
            spec = spec(count)
    return returned(f"{where}: the schedule of `{name}`", spec)


def origin_of(spec: Any, domain: Interval) -> Any:
    """Where the values of a hyperparameter given as `spec` come from; by group, pairs of them."""
    if isinstance(spec, PerGroup):
        return tuple((label, origin_of(value, domain)) for label, value in spec.values.items())
    return Origin(source_of(spec), domain)


def init_hyperparam(where: str, name: str, spec: Any, domain: Interval) -> Any:
    """A hyperparameter's value before any update: float32[], or a dict of them by group.

    Raises:
        ValueError: if it lies outside `domain`.
    """
    if isinstance(spec, PerGroup):
        return {
            label: init_hyperparam(where, f"{name}[{label!r}]", value, domain)
            for label, value in spec.values.items()
        }
    value = evaluate(where, name, spec, jnp.zeros((), jnp.int32))
    check_domain(where, name, value, domain)
    return value


def check_origin(where: str, name: str, spec: Any, origin: Any) -> None:
    """Require that a state's hyperparameter was given as `spec` is.

    Raises:
        ValueError: if it was given as another kind (number, array, schedule) or has other groups.
    """
    groups = {} if isinstance(origin, Origin) else dict(origin)
    if isinstance(spec, PerGroup) and groups and set(spec.values) == set(groups):
        for label, inner in groups.items():
            check_origin(where, f"{name}[{label!r}]", spec.values[label], inner)
        return
    ours, theirs = _kind(origin_of(spec, REAL)), _kind(origin)
    if ours != theirs:
        raise ValueError(
            f"{where}: `{name}` is {ours} here, but `state` was made where it was {theirs}. Make a"
            " new state with `init`, or build the transform as it was."
        )


def check_groups(where: str, name: str, value: Any) -> None:
    """Require that the value of a hyperparameter by group is a dict.

    Raises:
        ValueError: if something has put one value in its place.
    """
    if not isinstance(value, dict):
        raise ValueError(
            f"{where}: `{name}` has a value for each group, which the state must hold as a dict;"
            f" got {type(value).__name__}. Set it with gradtx.set_hyperparams, which takes one"
            " value for all groups or a dict."
        )


def _kind(origin: Any) -> str:
    if not isinstance(origin, Origin):
        return f"a value for each of the groups {sorted(label for label, _ in origin)}"
    return {"number": "a number", "array": "a JAX array", "schedule": "a schedule"}[origin.source]


def resolve(where: str, name: str, spec: Any, stored: Any, count: jax.Array) -> Any:
    """The value for update number `count` (0-based); `stored` is the last one."""
    if isinstance(spec, PerGroup):
        return {
            label: resolve(where, f"{name}[{label!r}]", value, stored[label], count)
            for label, value in spec.values.items()
        }
    if source_of(spec) == "number":
        return stored
    return evaluate(where, name, spec, count).astype(stored.dtype)
