"""The protocol: what a transformation is, and the way to make one from functions on whole trees.

A gradient transformation is Optax's pair of pure functions

    init(params) -> state        update(updates, state, params=None, **extra) -> (updates, state)

`transformation` makes one from functions on whole trees, `leafwise` from a rule for one leaf,
`chain` from other transformations. They look after what every one needs: runtime hyperparameters,
the counter, arithmetic in at least float32, fixed state dtypes, `None` leaves and errors that
name the path.
"""

from collections.abc import Callable, Mapping
from numbers import Number
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.hyperparams import (
    Interval,
    PerGroup,
    check_hyperparam,
    check_stored,
    init_hyperparam,
    resolve,
    values_of,
)
from gradtx.core.state import Structure, TransformState
from gradtx.core.tree import (
    PyTree,
    as_dtype,
    check_floating,
    check_like,
    compute_dtype,
    dtype_of,
    is_none,
    path_name,
)

GradientTransformation = optax.GradientTransformationExtraArgs


class Values(SimpleNamespace):
    """The `h` that a rule is given: values by name. Asked for another, it says what it has."""

    __slots__ = ("_where",)

    def __init__(self, where: str, /, **values: Any):
        """Keep the transform's name beside the values, not among them."""
        super().__init__(**values)
        self._where = where

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") or key == "_where":  # what copying looks for
            raise AttributeError(key)
        raise AttributeError(
            f"{self._where}: `h` must be asked for what it has; got `h.{key}`. Use one of:"
            f" {', '.join(vars(self))}; hyperparameters are given as NAME=(value, Interval(...))."
        )


def specs_of(where: str, hyperparams: Mapping[str, Any]) -> dict[str, Any]:
    """What each hyperparameter was given as, of pairs (number or schedule, interval).

    Raises:
        TypeError: if one is no such pair.
    """
    for key, pair in hyperparams.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Interval)):
            raise TypeError(
                f"{where}: the hyperparameter `{key}` must be a pair (value, Interval); got"
                f" {pair!r}. Pass for example {key}=(0.1, Interval(0))."
            )
    return {key: spec for key, (spec, _) in hyperparams.items()}


def transformation(
    name: str,
    init: Callable[[PyTree], Any],
    update: Callable[..., tuple[PyTree, Any]],
    *,
    needs_params: bool = False,
    per_group: bool = False,
    parts: tuple[Any, ...] = (),
    select: Callable[[PyTree], tuple[PyTree, ...]] | None = None,
    clock: Callable[[Any], jax.Array] | None = None,
    **hyperparams: tuple[Any, Interval],
) -> GradientTransformation:
    """Make a transform from functions on whole trees.

        slots = init(params)        updates', slots' = update(updates, slots, params, h, **extra)

    `h` holds the value of each hyperparameter (a float32 scalar) by name, `h.count` (int32:
    updates made so far) and `h.step` (float32: count + 1). Each entry of `hyperparams` is a pair
    (number, schedule or JAX scalar; the interval that it must lie in). `per_group` says that
    `update` understands values that differ between groups of parameters. `parts` are the
    transforms inside this one and `select` what each sees, for `describe` (see `Structure`).
    `clock` reads off the slots the count that schedules are given, in place of `h.count`.

    Raises:
        ValueError, TypeError: at once for a bad hyperparameter; on `update` if `state` is not this
            transform's, if `params` is needed and missing, or if the trees differ.
    """
    specs = specs_of(name, hyperparams)
    for key, (spec, domain) in hyperparams.items():
        check_hyperparam(name, key, spec, domain)
        if isinstance(spec, PerGroup) and not per_group:
            raise ValueError(
                f"{name}: `{key}` acts on the whole tree and can't differ between groups; got a"
                " PerGroup. Use one value, or `partition` to give each group its own transform."
            )

    def init_fn(params: PyTree) -> TransformState:
        _check_arrays(f"{name}.init", "params", params)
        for spec in specs.values():
            if isinstance(spec, PerGroup):
                spec.labels(params)  # says which leaf has no group
        stored = {
            key: init_hyperparam(f"{name}.init", key, spec, domain)
            for key, (spec, domain) in hyperparams.items()
        }
        return TransformState(name, jnp.zeros((), jnp.int32), stored, init(params))

    def update_fn(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        where = f"{name}.update"
        _check_state(where, name, state, specs)
        _check_arrays(where, "updates", updates)
        check_floating(where, updates)
        if params is not None:
            do = "Pass gradients with respect to these same parameters."
            check_like(where, "updates", updates, "params", params, do)
        elif needs_params:
            raise ValueError(
                f"{where}: needs the parameters; got params=None. Call tx.update(grads, state,"
                " params)."
            )
        time = state.count if clock is None else clock(state.slots)
        resolved = {
            key: resolve(where, key, spec, state.hyperparams[key], time)
            for key, spec in specs.items()
        }
        count: Any = optax.safe_increment(state.count)
        step = count.astype(jnp.result_type(float))
        h = Values(name, **values_of(resolved), count=state.count, step=step)
        updates, slots = update(updates, state.slots, params, h, **extra)
        return updates, TransformState(name, count, resolved, slots)

    made: Any = update_fn
    made.structure = Structure(name, specs, parts, select)
    start: Any = init_fn
    return GradientTransformation(start, made)


def as_transformation(where: str, name: str, given: Any) -> GradientTransformation:
    """`given`, which takes extra arguments from now on.

    Raises:
        TypeError: if it is no gradient transformation.
    """
    if not (hasattr(given, "init") and hasattr(given, "update")):
        raise TypeError(
            f"{where}: {name} must be a gradient transformation (an init and an update); got"
            f" {given!r}. Call the factory: adam(1e-3), not adam."
        )
    return optax.with_extra_args_support(given)


def is_array(x: Any) -> bool:
    """Whether `x` is an array, a number or the shape of an array."""
    return hasattr(x, "dtype") or isinstance(x, Number)


def _check_arrays(where: str, name: str, tree: PyTree) -> None:
    """Require that all leaves are arrays or numbers.

    Raises:
        TypeError: naming the first leaf that is not.
    """
    # One leaf of each type: a tree has thousands of leaves and few types.
    if all(is_array(x) for x in {type(x): x for x in jax.tree.leaves(tree)}.values()):
        return
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if not is_array(x):
            raise TypeError(
                f"{where}: every leaf of `{name}` must be an array; got {type(x).__name__}"
                f" ({x!r:.60}) at {path_name(path)}. Pass the arrays alone."
            )


def _check_state(where: str, name: str, state: Any, specs: Mapping[str, Any]) -> None:
    do = f"Pass the state that `init` of this same {name} returned, or that its last update did."
    if not isinstance(state, TransformState):
        got = f"{type(state).__name__}"
    elif state.name != name or set(state.hyperparams) != set(specs):
        got = f"one of {_kind(state.name, state.hyperparams)}"
    elif state.count is None:
        got = "the part of a chain's state, which has no counter of its own"
    else:
        for key, spec in specs.items():
            check_stored(where, key, spec, state.hyperparams[key])
        return
    raise ValueError(f"{where}: `state` must be a state of {_kind(name, specs)}; got {got}. {do}")


def _kind(name: str, hyperparams: Mapping[str, Any]) -> str:
    return f"{name} with hyperparameters {sorted(hyperparams)}" if hyperparams else name


def identity() -> GradientTransformation:
    """Leave the updates as they are.

    u = g
    """
    return transformation(
        "identity", lambda params: {}, lambda g, slots, params, h, **extra: (g, {})
    )


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """Add the updates to the parameters.

        p' = p + u

    The sum is made in at least float32 and rounded once to the dtype of `p`. A `None` on either
    side leaves the parameter as it is.

    Raises:
        ValueError: if the trees differ.
    """
    do = "Pass the updates that `tx.update` returned for these parameters."
    check_like("apply_updates", "updates", updates, "params", params, do)

    def add(p: Any, u: Any) -> Any:
        if p is None or u is None:
            return p
        dtype = compute_dtype(p, u)
        return as_dtype(as_dtype(p, dtype) + as_dtype(u, dtype), dtype_of(p))

    return jax.tree.map(add, params, updates, is_leaf=is_none)
