"""What a search chooses from: for each live hyperparameter a distribution with bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from gradtx.core.runtime_hyperparams import set_hyperparams, values_named
from gradtx.kinds import Kind, Positive, as_number, checked, is_number
from gradtx.tuning.distributions import Choice, Distribution, LogUniform, Uniform

SCHEDULES = "schedule_hyperparams"  # the hook that sets hyperparameters at every step
FORM = {"learning_rate": "log_uniform(1e-4, 1e-1)", "weight_decay": "[0, 0.01]"}
AN_EXAMPLE = "{" + ", ".join(f'"{name}": {made}' for name, made in FORM.items()) + "}"
Values = dict[str, jax.Array]  # label -> float32[n]
SearchSpace = Annotated[
    Mapping[str, Any],
    Kind("a dict, hyperparameter -> its values", lambda x: isinstance(x, Mapping)),
]


class Dimension(NamedTuple):
    """One hyperparameter of a space, or that of one group of parameters."""

    name: str  # as `set_hyperparams` takes it
    group: str | None
    prior: Distribution

    @property
    def label(self) -> str:
        """What it is called in tables and files: the name, or name.group."""
        return self.name if self.group is None else f"{self.name}.{self.group}"


@checked
def log_uniform(low: Positive, high: Positive) -> LogUniform:
    """Values whose logarithm is uniform: for scales, such as a learning rate.

        value = low (high / low)^u        u uniform on [0, 1)

    Args:
        low: the least value, positive.
        high: the greatest, above `low`.

    Raises:
        ValueError: unless 0 < low < high, also as float32.
    """
    return LogUniform(*_bounds("log_uniform", low, high))


@checked
def uniform(low: float, high: float) -> Uniform:
    """Values between two bounds, all alike.

        value = low + (high - low) u        u uniform on [0, 1)

    Args:
        low: the least value.
        high: the greatest, above `low`.

    Raises:
        ValueError: unless low < high, also as float32.
    """
    return Uniform(*_bounds("uniform", low, high))


def _bounds(where: str, low: float, high: float) -> tuple[float, float]:
    """Both as the float32 that the state holds."""
    with np.errstate(over="ignore"):
        first, last = float(np.float32(as_number(low))), float(np.float32(as_number(high)))
    if not first < last < math.inf or (where == "log_uniform" and not first):
        raise ValueError(
            f"{where}: `low` must be below `high`, as float32; got {low:g} and {high:g}. Swap them,"
            " or choose others."
        )
    return first, last


@dataclass(frozen=True)
class Space:
    """A search space as the rules take it; `as_space` makes it.

    Args:
        dimensions: in the order in which they were given.
    """

    dimensions: tuple[Dimension, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """What the dimensions are called."""
        return tuple(each.label for each in self.dimensions)

    def draw(self, key: jax.Array, n: int) -> Values:
        """n values of each dimension, from its prior.

        Args:
            key: of the random numbers.
            n: how many.
        """
        keys = jax.random.split(key, len(self.dimensions))
        return {
            each.label: each.prior.value(jax.random.uniform(k, (n,)))
            for each, k in zip(self.dimensions, keys, strict=True)
        }

    def read(self, states: Any) -> Values:
        """The live values in a population.

        Args:
            states: any pytree that holds states of gradtx, with a leading axis [n].
        """
        found: Values = {}
        for each in self.dimensions:
            value = next(iter(values_named(states, each.name).values()))
            if isinstance(value, Mapping):
                value = value[each.group or next(iter(value))]
            found[each.label] = value
        return found

    def write(self, states: Any, values: Values) -> Any:
        """A population with other live values.

        Args:
            states: any pytree that holds states of gradtx, with a leading axis [n].
            values: float32[n] of each dimension.
        """
        return jax.vmap(lambda state, value: set_hyperparams(state, **self.named(value)))(
            states, values
        )

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by label as arguments of `set_hyperparams`, which has groups as dicts.

        Args:
            values: one of each dimension.
        """
        found: dict[str, Any] = {}
        for each in self.dimensions:
            value = values[each.label]
            if each.group is None:
                found[each.name] = value
            else:
                found.setdefault(each.name, {})[each.group] = value
        return found

    def check(self, where: str, state: Any) -> None:
        """Require that the optimizer has these hyperparameters, live, and admits all values.

        Args:
            where: how messages begin.
            state: a `TrainState`.

        Raises:
            ValueError: for a name that it lacks, a value outside the hyperparameter's interval, one
                that a schedule decides, or names that mean the same.
        """
        ends = [[x.prior.ends[i] for x in self.dimensions] for i in (0, 1)]
        for values in ends:
            named = self.named(dict(zip(self.labels, values, strict=True)))
            try:
                set_hyperparams(state.opt_state, **named)
            except ValueError as error:
                said = str(error).removeprefix("set_hyperparams: ")
                raise ValueError(f"{where}: `space`: {said}") from error
        meant = [(full, each) for each in self.dimensions for full in self._full(state, each)]
        if twice := {a for i, (a, _) in enumerate(meant) if a in [b for b, _ in meant[:i]]}:
            raise ValueError(
                f"{where}: `space` must name each hyperparameter once; got {sorted(twice)[0]!r} by"
                " two names. Leave one out."
            )
        scheduled = getattr(state.hooks.get(SCHEDULES), "originals", {})
        moved = [each.name for full, each in meant if full.split(" of ")[0] in scheduled]
        if moved:
            raise ValueError(
                f"{where}: `space` must have live hyperparameters; got {moved[0]!r}, which the hook"
                f" {SCHEDULES!r} sets at every step. Leave out the hook, or the name."
            )

    def _full(self, state: Any, dimension: Dimension) -> list[str]:
        of = "" if dimension.group is None else f" of {dimension.group}"
        return [f"{name}{of}" for name in values_named(state.opt_state, dimension.name)]


def as_space(where: str, space: Mapping[str, Any]) -> Space:
    """The space of a dict, hyperparameter -> `log_uniform`, `uniform` or a list of values.

    A hyperparameter that differs between groups may have a dict of these by group.

    Args:
        where: how messages begin.
        space: the dict.

    Raises:
        ValueError: if it is empty, or a list is, or has what is no finite number.
        TypeError: if a name is none, or a value is none of these.
    """
    if not space:
        raise ValueError(
            f"{where}: `space` must name a hyperparameter; got none. Pass for example {AN_EXAMPLE}."
        )
    found: list[Dimension] = []
    for name, given in space.items():
        groups = given if isinstance(given, Mapping) else {None: given}
        if not (
            isinstance(name, str) and groups and all(isinstance(g, str | None) for g in groups)
        ):
            raise TypeError(
                f"{where}: `space` must have names of hyperparameters and of groups; got {name!r}:"
                f" {given!r:.60}. Pass for example {AN_EXAMPLE}."
            )
        found += [Dimension(name, group, _prior(where, name, of)) for group, of in groups.items()]
    return Space(tuple(found))


def _prior(where: str, name: str, given: Any) -> Distribution:
    if isinstance(given, Distribution):
        return given
    several = isinstance(given, Sequence | np.ndarray | jax.Array) and not isinstance(given, str)
    values = list(given) if several and np.ndim(given) else None  # pyright: ignore
    if not values or not all(map(is_number, values)):
        raise TypeError(
            f"{where}: `space[{name!r}]` must be log_uniform(low, high), uniform(low, high) or a"
            f" list of numbers; got {given!r:.60}. A schedule is no such value: pass numbers."
        )
    numbers = tuple(float(np.float32(as_number(value))) for value in values)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"{where}: `space[{name!r}]` must have finite numbers; got {given!r:.60}. Leave the"
            " others out."
        )
    return Choice(numbers)
