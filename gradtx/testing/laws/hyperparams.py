"""Laws of hyperparameters: however a value is given, it means the same.

These are laws of a factory: `factory(**hyperparams)` is the transformation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax.numpy as jnp

from gradtx.core.runtime_hyperparams import hyperparams as read_hyperparams
from gradtx.core.runtime_hyperparams import set_hyperparams
from gradtx.core.state import TransformState
from gradtx.testing.law import law
from gradtx.testing.run import (
    compiled,
    disturbed,
    jitted,
    map_floats,
    run,
    same_updates,
    to_float64,
)

PyTree = Any


def _hyperparams(subject: Any) -> dict[str, Any]:
    return {"hyperparams": dict(subject.claims.hyperparams), "tolerance": subject.claims.tolerance}


def _scheduled(subject: Any) -> dict[str, Any]:
    return {"names": tuple(subject.claims.schedules)} | _hyperparams(subject)


def _proportional(subject: Any) -> dict[str, Any]:
    return {"name": subject.claims.proportional_to} | _hyperparams(subject)


@lru_cache(maxsize=16)
def _made(factory: Callable, items: tuple[tuple[str, Any], ...]) -> Any:
    # The same transformation for the same values, so that it compiles once.
    return factory(**dict(items))


def _make(factory: Callable, values: Mapping[str, Any]) -> Any:
    return _made(factory, tuple(sorted(values.items())))


@lru_cache(maxsize=16)
def traced_factory(factory: Callable) -> tuple[Callable, Callable]:
    """`init` and `update` under jit, with the hyperparameters as arguments before theirs."""
    init = lambda values, p: factory(**values).init(p)
    update = lambda values, g, s, p: factory(**values).update(g, s, p)
    return jitted(init), jitted(update)


def _same(tx: Any, got: list, params: PyTree, grads: Sequence[PyTree], what: str, **kw: Any):
    want, again = run(tx, params, grads).updates, disturbed(tx, params, grads)
    same_updates(got, want, what=(what, "the plain number"), again=again, **kw)


@law(when=lambda c: c.hyperparams, of_factory=True, trees="vector", arguments=_hyperparams)
def traced_equals_constant(
    factory: Callable,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    hyperparams: Mapping[str, float],
    tolerance: float,
) -> None:
    """A hyperparameter may be a traced scalar, as in a search mapped over it.

        jit(h -> factory(h).update(g, s, p))(h) = factory(h).update(g, s, p)

    Args:
        factory: the function that makes the transformation, `factory(**hyperparams)`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        hyperparams: the hyperparameters and their values.
        tolerance: largest relative difference that is rounding.
    """
    init, update = traced_factory(factory)
    values = {name: jnp.float32(value) for name, value in hyperparams.items()}
    state, got = init(values, params), []
    for g in grads:
        u, state = update(values, g, state, params)
        got.append(u)
    # A traced b2 has the error of 1 - float32(b2), a constant may be subtracted in float64.
    tx = _make(factory, hyperparams)
    _same(tx, got, params, grads, "traced", tolerance=10 * tolerance)


def _constant(value: float) -> Callable:
    return lambda count: jnp.full(jnp.shape(count), value, jnp.float32)


@lru_cache(maxsize=256)
def _schedule(kind: str, value: float) -> Callable:
    halved = lambda count: value * jnp.exp2(-jnp.asarray(count, jnp.float32))
    first = lambda count: jnp.where(jnp.asarray(count) == 0, value, value / 2)
    return {"constant": _constant(value), "halved": halved, "first": first}[kind]


def _given_as(kind: str, hyperparams: Mapping[str, float], names: Sequence[str]) -> dict[str, Any]:
    return dict(hyperparams) | {name: _schedule(kind, hyperparams[name]) for name in names}


@law(when=lambda c: c.schedules, of_factory=True, trees="vector", arguments=_scheduled)
def constant_schedule_equals_number(
    factory: Callable,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    hyperparams: Mapping[str, float],
    names: Sequence[str],
    tolerance: float,
) -> None:
    """A schedule that is constant does what the number does.

        factory(t -> c).update(g, s, p) = factory(c).update(g, s, p)

    Args:
        factory: the function that makes the transformation, `factory(**hyperparams)`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        hyperparams: the hyperparameters and their values.
        names: those of `hyperparams` to give as schedules.
        tolerance: largest relative difference that is rounding.
    """
    got = run(_make(factory, _given_as("constant", hyperparams, names)), params, grads).updates
    tx = _make(factory, hyperparams)
    _same(tx, got, params, grads, "constant schedule", tolerance=10 * tolerance)


@law(
    when=lambda c: c.schedules, of_factory=True, trees="vector", steps=(1, 1), arguments=_scheduled
)
def schedule_starts_at_zero(
    factory: Callable,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    hyperparams: Mapping[str, float],
    names: Sequence[str],
    tolerance: float,
) -> None:
    """The first update uses the value of the schedule at 0.

        factory(t -> c if t = 0 else c / 2).update(g_1, init(p), p) = factory(c).update(g_1, ..)

    Args:
        factory: the function that makes the transformation, `factory(**hyperparams)`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        hyperparams: the hyperparameters and their values.
        names: those of `hyperparams` to give as schedules.
        tolerance: largest relative difference that is rounding.
    """
    got = run(_make(factory, _given_as("first", hyperparams, names)), params, grads).updates
    tx = _make(factory, hyperparams)
    _same(tx, got, params, grads, "schedule", tolerance=10 * tolerance)


@law(
    when=lambda c: c.proportional_to,
    of_factory=True,
    trees="vector",
    steps=(3, 3),
    arguments=_proportional,
)
def proportional_to(
    factory: Callable,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    hyperparams: Mapping[str, float],
    name: str,
    tolerance: float,
) -> None:
    """The value of a schedule at the count of this very update multiplies it.

        factory(h = t -> c 2^-t):  u_t = 2^-t u_t of factory(h = c),  for t = 0, 1, ..

    Args:
        factory: the function that makes the transformation, `factory(**hyperparams)`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        hyperparams: the hyperparameters and their values.
        name: the hyperparameter that multiplies the update.
        tolerance: largest relative difference that is rounding.
    """
    got = run(_make(factory, _given_as("halved", hyperparams, [name])), params, grads).updates
    halve = lambda us: [map_floats(lambda x: 2.0**-t * to_float64(x), u) for t, u in enumerate(us)]  # noqa: B023
    tx = _make(factory, hyperparams)
    want = halve(run(tx, params, grads).updates)
    again = lambda seed: halve(disturbed(tx, params, grads)(seed))
    what = (f"with {name} = c 2^-t", "2^-t of that with c")
    same_updates(got, want, tolerance=10 * tolerance, what=what, again=again)


@law(when=lambda c: c.hyperparams, of_factory=True, trees="vector", arguments=_hyperparams)
def set_equals_constant(
    factory: Callable,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    hyperparams: Mapping[str, float],
    tolerance: float,
) -> None:
    """A hyperparameter set in the state acts as one that was given from the start.

        factory(a).update(g, set_hyperparams(s, h=b), p) = factory(b).update(g, s, p)

    Tried where the state is gradtx's, and names the hyperparameter.

    Args:
        factory: the function that makes the transformation, `factory(**hyperparams)`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        hyperparams: the hyperparameters and their values.
        tolerance: largest relative difference that is rounding.
    """
    tx = _make(factory, hyperparams)
    state = tx.init(params)
    if not isinstance(state, TransformState):
        return
    names = [name for name in hyperparams if name in read_hyperparams(state)]
    values = dict(hyperparams) | {name: hyperparams[name] / 2 for name in names}
    state, got = set_hyperparams(state, **{name: values[name] for name in names}), []
    for g in grads:
        u, state = compiled(tx)(g, state, params)
        got.append(u)
    other = _make(factory, values)
    _same(other, got, params, grads, "set in the state", tolerance=tolerance)
