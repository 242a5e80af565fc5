"""Hyperparameters: a number, a schedule or a traced scalar, each live in the state.

A hyperparameter given as a Python or NumPy number is kept in the state and read from there at
every update, so it can be set between two updates. One given as a schedule or as a JAX scalar is
read from where it came from; the state then records the value that the last update used.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Schedule = Callable[[jax.Array], Any]
OneValue = float | jax.Array | Schedule


class Interval(NamedTuple):
    """The values that a hyperparameter may take; `low` is allowed, `high` is not.

    `open_low` leaves `low` out; `closed_high` lets `high` in.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    closed_high: bool = False

    def __contains__(self, value: Any) -> bool:
        above = self.low < value if self.open_low else self.low <= value
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


def unless_zero(**hyperparams: tuple[Any, Interval]) -> dict[str, Any]:
    """Those of a transform's `hyperparams` that are not the number 0, which leaves a term out."""
    is_zero = lambda spec: type(spec) in (int, float) and spec == 0
    return {key: pair for key, pair in hyperparams.items() if not is_zero(pair[0])}


@dataclass(frozen=True)
class PerGroup:
    """A hyperparameter whose value differs between groups of parameters.

    `labels` maps a tree of arrays to a tree of the same structure whose leaves are group names;
    `values` gives each group's number, schedule or JAX scalar.
    """

    labels: Callable[[Any], Any]
    values: Mapping[str, OneValue]


ScalarOrSchedule = OneValue | PerGroup


@partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=["source", "domain"])
@dataclass(frozen=True)
class Hyperparam:
    """One hyperparameter in a state: the value used last, and what decides the next one.

    With source "number" the next update uses `value`; with "schedule" or "array" it uses what the
    transform was built with, and records it in `value`.
    """

    value: jax.Array  # float32[]
    source: str
    domain: Interval


def is_hyperparam(node: Any) -> bool:
    """Whether `node` is a `Hyperparam`; for `jax.tree.*(..., is_leaf=is_hyperparam)`."""
    return isinstance(node, Hyperparam)


def source_of(spec: Any) -> str:
    """How a hyperparameter was given: as a "number", an "array" or a "schedule"."""
    if isinstance(spec, jax.Array):
        return "array"
    if isinstance(spec, np.ndarray | np.generic):
        return "number" if spec.dtype.kind in "fiu" else ""
    if isinstance(spec, numbers.Real):
        return "number"
    if callable(spec):
        return "schedule"
    return ""


def check_hyperparam(where: str, name: str, spec: Any, domain: Interval) -> None:
    """Require that `spec` is a hyperparameter and, where it is a number, that it is in `domain`.

    Raises:
        TypeError: if it is no number, schedule (a function of the step), JAX scalar or `PerGroup`
            of those.
        ValueError: if a number lies outside `domain` or an array is not a scalar.
    """
    if isinstance(spec, PerGroup):
        for label, value in spec.values.items():
            check_hyperparam(where, f"{name}[{label!r}]", value, domain)
        return
    source = source_of(spec)
    if not source or isinstance(spec, bool):
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
    elif not _takes_one_argument(spec):
        raise TypeError(
            f"{where}: `{name}` as a schedule must take one argument, the step; got"
            f" {getattr(spec, '__name__', type(spec).__name__)}{inspect.signature(spec)}. Write for"
            f" example {name}=lambda step: 0.1."
        )


def _takes_one_argument(spec: Any) -> bool:
    try:
        inspect.signature(spec).bind(0)
    except TypeError:
        return False
    except ValueError:  # it has no signature to look at
        return True
    return True


def check_domain(where: str, name: str, value: Any, domain: Interval) -> None:
    """Require that a concrete `value` is in `domain`; a traced one can't be looked at.

    Raises:
        ValueError: naming the value and the interval.
    """
    if not isinstance(value, Tracer) and float(value) not in domain:
        raise ValueError(
            f"{where}: `{name}` must be in {domain}; got {float(value):g}. Choose a value inside."
        )


def _evaluate(where: str, name: str, spec: Any, count: jax.Array) -> jax.Array:
    if source_of(spec) == "schedule":
        # Optax's schedules need the standard rules, whatever the program around them has set.
        with jax.numpy_dtype_promotion("standard"):
            spec = spec(count)
    if source_of(spec) not in ("number", "array"):
        raise TypeError(
            f"{where}: the schedule of `{name}` must return a scalar; got {type(spec).__name__}"
            f" ({spec!r}). Return one number for each step."
        )
    if jnp.ndim(spec) != 0:
        raise ValueError(
            f"{where}: the schedule of `{name}` must return a scalar; got shape {jnp.shape(spec)}."
            " Return one number for each step."
        )
    return jnp.asarray(spec, jnp.result_type(float))


def init_hyperparam(where: str, name: str, spec: Any, domain: Interval) -> Any:
    """The state of one hyperparameter before any update: a `Hyperparam`, or a dict by group."""
    if isinstance(spec, PerGroup):
        return {
            label: init_hyperparam(where, f"{name}[{label!r}]", value, domain)
            for label, value in spec.values.items()
        }
    value = _evaluate(where, name, spec, jnp.zeros((), jnp.int32))
    check_domain(where, name, value, domain)
    return Hyperparam(value, source_of(spec), domain)


def check_stored(where: str, name: str, spec: Any, stored: Any) -> None:
    """Require that `stored` was made for a hyperparameter given as `spec` is.

    Raises:
        ValueError: if it was another kind (number, array, schedule) or had other groups.
    """
    if isinstance(spec, PerGroup) and isinstance(stored, dict) and set(spec.values) == set(stored):
        for label, value in spec.values.items():
            check_stored(where, f"{name}[{label!r}]", value, stored[label])
        return
    ours, theirs = _kind(spec), _kind(stored)
    if ours != theirs:
        raise ValueError(
            f"{where}: `{name}` is {ours} here, but `state` was made where it was {theirs}. Make a"
            " new state with `init`, or build the transform as it was."
        )


def _kind(spec_or_stored: Any) -> str:
    if isinstance(spec_or_stored, PerGroup):
        return f"a value for each of the groups {sorted(spec_or_stored.values)}"
    if isinstance(spec_or_stored, dict):
        return f"a value for each of the groups {sorted(spec_or_stored)}"
    stored = is_hyperparam(spec_or_stored)
    source = spec_or_stored.source if stored else source_of(spec_or_stored)
    return {"number": "a number", "array": "a JAX array", "schedule": "a schedule"}[source]


def resolve(where: str, name: str, spec: Any, stored: Any, count: jax.Array) -> Any:
    """`stored` with the values for update number `count` (0-based)."""
    if isinstance(spec, PerGroup):
        return {
            label: resolve(where, f"{name}[{label!r}]", value, stored[label], count)
            for label, value in spec.values.items()
        }
    if stored.source == "number":
        return stored
    value = _evaluate(where, name, spec, count)
    return replace(stored, value=value.astype(stored.value.dtype))


def values_of(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The bare values in a dict of `Hyperparam`s (or of dicts of them by group)."""
    return jax.tree.map(lambda h: h.value, dict(resolved), is_leaf=is_hyperparam)
