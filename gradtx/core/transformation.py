"""The protocol: what a transformation is, and the way to make one from functions on whole trees.

A gradient transformation is Optax's pair of pure functions

    init(params) -> state        update(updates, state, params=None, **extra) -> (updates, state)

`transformation` makes one from functions on whole trees, `leafwise` from a rule for one leaf,
`chain` from other transformations. They look after what every one needs: runtime hyperparameters,
the counter, arithmetic in at least float32, fixed state dtypes, `None` leaves and errors that
name the path.

What the user calls checks everything once. What stands inside a chain is called by `apply` of its
structure, which checks nothing: the chain has checked the state and the trees for all its parts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.flax_state import serialize_with_flax
from gradtx.core.hyperparams import (
    Interval,
    Origin,
    PerGroup,
    check_groups,
    check_hyperparam,
    check_origin,
    init_hyperparam,
    origin_of,
    resolve,
    source_of,
)
from gradtx.core.protocol import GradientTransformationExtraArgs
from gradtx.core.state import StateInfo, Structure, TransformState, structure_of, with_count
from gradtx.core.tree import (
    PyTree,
    as_scalars,
    check_like,
    check_numbers,
    is_empty,
    is_wide,
    path_name,
)
from gradtx.core.values import RESERVED, Values

Specs = Mapping[str, Any]


def specs_of(where: str, hyperparams: Mapping[str, Any]) -> dict[str, Any]:
    """What each hyperparameter was given as, of pairs (number or schedule, interval) and None.

    Raises:
        TypeError: if one is neither.
    """
    given = {key: pair for key, pair in hyperparams.items() if pair is not None}
    for key, pair in given.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Interval)):
            raise TypeError(
                f"{where}: the hyperparameter `{key}` must be a pair (value, Interval); got"
                f" {pair!r}. Pass for example {key}=(0.1, Interval(0))."
            )
        if key in RESERVED:
            raise TypeError(
                f"{where}: a hyperparameter must not have the name of what `h` has anyway; got"
                f" `{key}`. Call it something else."
            )
    return {key: spec for key, (spec, _) in given.items()}


def transformation(
    name: str,
    init: Callable[[PyTree], Any],
    update: Callable[..., tuple[PyTree, Any]],
    *,
    needs_params: bool = False,
    per_group: bool = False,
    per_leaf: bool = False,
    remembers: bool = True,
    counts: bool = True,
    parts: tuple[Any, ...] = (),
    select: Callable[[PyTree], tuple[PyTree, ...]] | None = None,
    labels: tuple[Any, ...] = (),
    clock: Callable[[Any], jax.Array] | None = None,
    check: Callable[[PyTree, Any], None] | None = None,
    **hyperparams: tuple[Any, Interval] | None,
) -> GradientTransformationExtraArgs:
    """Make a transformation from functions on whole trees.

        slots = init(params)        updates', slots' = update(updates, slots, params, h, **extra)

    `h` holds the value of each hyperparameter (a float32 scalar) by name, `h.count` (int32:
    updates made so far) and `h.step` (float32: count + 1).

    Args:
        name: what messages, `describe` and states call it.
        init: makes of the parameters what is remembered: any pytree of arrays.
        update: the rule; `extra` are the extra arguments of the call.
        needs_params: whether an update without parameters is an error.
        per_group: whether `update` understands values that differ between groups of parameters.
        per_leaf: whether what becomes of a number depends on the others of its leaf, as where a
            leaf's norm counts; `flatten` refuses such a one.
        remembers: whether an update needs what the slots hold. Without that, and without schedules,
            it takes `None`, Optax's `EmptyState` or anything else without an array for a state,
            too, and returns the same.
        counts: whether the state counts the updates; without, `h.count` is 0 on every update, and
            there can be no schedule. Inside another, the count is the whole's.
        parts: the transformations inside this one, for `describe`.
        select: maps the parameters to what each of `parts` sees of them; by default each sees all.
        labels: with `select`: of each of `parts`, whose state the slots hold under it as text.
        clock: reads off the slots the count that schedules are given, in place of `h.count`.
        check: check(updates, slots) raises an error for slots that do not suit the updates.
        **hyperparams: pairs (number, schedule or JAX scalar; the interval that it must lie in), or
            None for one that is left out of the state: `h` has None for it. The role of the
            interval says what it is to recipes: see `MOMENTUM`.

    Raises:
        ValueError, TypeError: at once for a bad hyperparameter; on `update` if `state` is not this
            transformation's, if `params` is needed and missing, or if the trees differ.
    """
    specs = specs_of(name, hyperparams)
    domains = {key: pair[1] for key, pair in hyperparams.items() if pair is not None}
    for key, spec in specs.items():
        check_hyperparam(name, key, spec, domains[key])
        if isinstance(spec, PerGroup) and not per_group:
            raise ValueError(
                f"{name}: `{key}` acts on the whole tree and can't differ between groups; got a"
                " PerGroup. Use one value, or `partition` to give each group its own transform."
            )
    absent = tuple(key for key in hyperparams if key not in specs)
    origins = [(key, origin_of(spec, domains[key])) for key, spec in specs.items()]
    info = StateInfo(name, tuple(origins))
    grouped = tuple(key for key, spec in specs.items() if isinstance(spec, PerGroup))
    rule = _Rule(info, init, update, specs, domains, absent, grouped, counts, clock, check)
    needing = [part.needs_params for part in map(structure_of, parts) if part and select is None]
    wants = name if needs_params else next(filter(None, needing), None)
    unit = per_leaf or bool(grouped) or select is not None
    forgets = not remembers and all(source_of(spec) != "schedule" for spec in specs.values())
    check_state, apply = rule.check_state, rule.apply
    structure = Structure(name, specs, parts, select, labels, wants, unit, check_state, apply)
    start: Any = rule.init_state
    checked = _checked(structure, start if forgets else None, counts)
    return GradientTransformationExtraArgs(start, checked)


@dataclass(frozen=True)
class _Rule:
    """A rule on whole trees, with the hyperparameters that it was made with."""

    info: StateInfo
    init: Callable[[PyTree], Any]
    update: Callable[..., tuple[PyTree, Any]]
    specs: Specs
    domains: Mapping[str, Interval]
    absent: tuple[str, ...]  # hyperparameters that were left out
    grouped: tuple[str, ...]  # hyperparameters that differ between groups
    counts: bool
    clock: Callable[[Any], jax.Array] | None
    check: Callable[[PyTree, Any], None] | None

    def init_state(self, params: PyTree) -> TransformState:
        """The state before any update."""
        where = f"{self.info.name}.init"
        serialize_with_flax()
        check_arrays(where, "params", params)
        for spec in self.specs.values():
            if isinstance(spec, PerGroup):
                spec.labels(params)  # says which leaf has no group
        own = {k: init_hyperparam(where, k, x, self.domains[k]) for k, x in self.specs.items()}
        state = TransformState(self.info, {}, own, self.init(params))
        return with_count(state, jnp.zeros((), jnp.int32)) if self.counts else state

    def apply(
        self, updates: PyTree, state: TransformState, params: PyTree, count: jax.Array, extra: Any
    ) -> tuple[PyTree, TransformState]:
        """The update without checks, of a state without a counter."""
        # Someone may have put another kind of number there, with `optax.tree_utils.tree_set`.
        given = state.own_hyperparams.items()
        own = {key: x if is_wide(x) else as_scalars(x) for key, x in given}
        time = count if self.clock is None else self.clock(state.slots)
        where = f"{self.info.name}.update"
        for key, origin in self.info.hyperparams:
            # Numbers are in the state; all else is read from where it came from.
            if not (isinstance(origin, Origin) and origin.source == "number"):
                own[key] = resolve(where, key, self.specs[key], own[key], time)
        # Made here and not where a rule asks for it, which may be inside a `jit` of its own.
        step: Any = optax.safe_increment(count)
        step = step.astype(jnp.result_type(float))
        h = Values(self.info.name, own | dict.fromkeys(self.absent), count, step)
        out = self.update(updates, state.slots, params, h, **extra)
        if not (isinstance(out, tuple) and len(out) == 2):
            got = f"got {type(out).__name__}. Return both."
            raise TypeError(f"{where}: the rule must return a pair, updates and slots; {got}")
        updates, slots = out
        return updates, replace(state, counter={}, own_hyperparams=own, slots=slots)

    def check_state(self, updates: PyTree, state: Any) -> None:
        """Require a state of this transformation for trees like `updates`."""
        # What compares equal may differ: `Origin`.
        if not isinstance(state, TransformState) or state.info is not self.info:
            _check_state(self.info.name, state, self.specs)
        for key in self.grouped:
            check_groups(f"{self.info.name}.update", key, state.own_hyperparams[key])
        if self.check is not None:
            self.check(updates, state.slots)


def _checked(
    structure: Structure, start: Callable[[PyTree], TransformState] | None, counts: bool
) -> Any:
    """The update that users call: it checks all that it is given, and counts.

    `start` makes a state in place of none, where none is needed.
    """
    name, apply = structure.name, structure.apply

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        where = f"{name}.update"
        if updates is None and params is not None:  # no gradient for any parameter
            updates = jax.tree.map(lambda p: None, params)
        check_arrays(where, "updates", updates)
        check_numbers(where, updates)
        if params is not None:
            do = "Pass gradients with respect to these same parameters."
            check_like(where, "updates", updates, "params", params, do)
        given = state
        if start is not None and not isinstance(state, TransformState) and is_empty(state):
            state = start(updates)
        structure.check(updates, state)
        if counts and "count" not in state.counter:
            raise ValueError(
                f"{where}: `state` must be a state of {_kind(name, state.own_hyperparams)}; got the"
                f" part of another's state, which has no counter of its own. {_remedy(name)}"
            )
        if params is None and structure.needs_params:
            raise ValueError(
                f"{structure.needs_params}.update: needs the parameters; got params=None. Call"
                " tx.update(grads, state, params)."
            )
        count = state.counter["count"] if counts else jnp.zeros((), jnp.int32)
        updates, new = apply(updates, state, params, count, extra)
        # Not where `counts` is False: a state has one only as a part of another's.
        counter = {key: optax.safe_increment(n) for key, n in state.counter.items()}
        return updates, replace(new, counter=counter) if state is given else given

    made: Any = update
    made.__name__ = made.__qualname__ = name
    made.structure = replace(structure, update=made)
    return made


def as_transformation(where: str, name: str, given: Any) -> GradientTransformationExtraArgs:
    """`given`, which takes extra arguments from now on.

    Raises:
        TypeError: if it is no gradient transformation.
    """
    if not (hasattr(given, "init") and hasattr(given, "update")):
        raise TypeError(
            f"{where}: {name} must be a gradient transformation (an init and an update); got"
            f" {given!r}. Call the factory: adam(1e-3), not adam."
        )
    made: Any = optax.with_extra_args_support(given)
    return made


def is_array(x: Any) -> bool:
    """Whether `x` is an array, a number or the shape of an array."""
    return hasattr(x, "dtype") or isinstance(x, Number)


def check_arrays(where: str, name: str, tree: PyTree) -> None:
    """Require that all leaves are arrays or numbers.

    Raises:
        TypeError: naming the first leaf that is not.
    """
    # One leaf of each type: a tree has thousands of leaves and few types.
    if all([hasattr(x, "dtype") for x in {type(x): x for x in jax.tree.leaves(tree)}.values()]):
        return
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if not is_array(x):
            raise TypeError(
                f"{where}: every leaf of `{name}` must be an array; got {type(x).__name__}"
                f" ({x!r:.60}) at {path_name(path)}. Pass the arrays alone."
            )


def _check_state(name: str, state: Any, specs: Specs) -> None:
    """Require a state that this transformation's `init` made, with the same kinds of values."""
    if not isinstance(state, TransformState):
        got = f"{type(state).__name__}"
    elif state.name != name or state.own_hyperparams.keys() != specs.keys():
        got = f"one of {_kind(state.name, state.own_hyperparams)}"
    else:
        for key, origin in state.info.hyperparams:
            check_origin(f"{name}.update", key, specs[key], origin)
        return
    raise ValueError(
        f"{name}.update: `state` must be a state of {_kind(name, specs)}; got {got}."
        f" {_remedy(name)}"
    )


def _kind(name: str, hyperparams: Specs) -> str:
    return f"{name} with hyperparameters {sorted(hyperparams)}" if hyperparams else name


def _remedy(name: str) -> str:
    return f"Pass the state that `init` of this same {name} returned, or that its last update did."


def identity() -> GradientTransformationExtraArgs:
    """Leave the updates as they are.

    u = g
    """
    return transformation(
        "identity", lambda params: {}, lambda g, slots, params, h, **extra: (g, {}), remembers=False
    )
