"""Read and set the hyperparameters that are in a state, between two updates."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey

from gradtx.core.hyperparams import Origin, check_domain, check_groups, source_of
from gradtx.core.state import Named, named_hyperparams, states_in
from gradtx.core.tree import Tree
from gradtx.kinds import checked


def hyperparams(state: Any) -> dict[str, Any]:
    """The hyperparameters that the last update used, by name.

    A value is a float32 scalar, or a dict of them by group. A name that two transformations share
    is qualified: `scale_by_rms.decay`; where transformations of one kind share it (a `partition`),
    by number: `scale_by_rms[1].decay`.

    >>> import gradtx
    >>> state = gradtx.adamw(1e-3).init({"w": jnp.ones(2)})
    >>> sorted(gradtx.hyperparams(state))
    ['b1', 'b2', 'eps', 'eps_root', 'learning_rate', 'weight_decay']

    Args:
        state: any pytree that holds gradtx states: of a chain, of a part inside an Optax chain, a
            whole training state.
    """
    return {each.name: each.value for each in named_hyperparams(state)}


def set_hyperparams(state: Tree, **values: Any) -> Tree:
    """A copy of `state` whose next updates use the given values.

    A bare name sets the hyperparameter in every transformation that has it, provided that they are
    all of one kind (a `partition` of several adamw); otherwise qualify it as `hyperparams` does:
    `set_hyperparams(state, **{"scale_by_rms.decay": 0.9})`. Shapes, dtypes and structure do not
    change, so nothing is recompiled.

    >>> import gradtx
    >>> state = gradtx.sgd(0.1).init(jnp.ones(2))
    >>> state = gradtx.set_hyperparams(state, learning_rate=0.01)
    >>> round(float(gradtx.hyperparams(state)["learning_rate"]), 6)
    0.01

    Args:
        state: any pytree that holds gradtx states.
        **values: by name a number or a scalar, also a traced one; for a hyperparameter that differs
            between groups also a dict of new values by group.

    Raises:
        TypeError: for a value that is no number.
        ValueError: for a state without hyperparameters of gradtx, a name that no transformation has
            or that is ambiguous, a value outside the hyperparameter's interval, or one that a
            schedule or an array decides.
    """
    if values and next(states_in(state), None) is None:
        raise ValueError(
            f"set_hyperparams: `state` must hold a state of a gradtx transformation; got"
            f" {type(state).__name__}, which holds none. Pass what `init` or `update` returned, of"
            " an optimizer of gradtx's, such as gradtx.adamw for optax.adamw; it needs no"
            " inject_hyperparams."
        )
    named = named_hyperparams(state)
    new: dict[tuple, jax.Array] = {}
    for name, value in values.items():
        for target in _targets(name, named):
            new |= _leaves(name, target.path, target.origin, target.value, value)
    # In an `nnx.Optimizer` the leaf is a step further down, in a variable.
    put = lambda path, leaf: new.get(path, new.get(path[:-1], leaf))
    return jax.tree_util.tree_map_with_path(put, state)


def values_named(opt_state: Any, *names: str) -> dict[str, Any]:
    """The hyperparameters that `names` mean, by their unambiguous names.

        values_named(state, "decay") = {"ema.decay": ..., "scale_by_rms.decay": ...}

    Args:
        opt_state: any pytree that holds states of gradtx.
        names: as `set_hyperparams` takes them; a bare one means all that are called so.
    """
    values = hyperparams(opt_state)
    return {full: x for full, x in values.items() if {full, full.rpartition(".")[2]} & set(names)}


@checked
def names_with_role(state: Any, role: str) -> list[str]:
    """The names of the hyperparameters in `state` that play `role`, such as "momentum".

    What plays it is declared where a transformation is made, by the role of its interval:
    `decay=(decay, gradtx.MOMENTUM)`.

    >>> import gradtx, jax.numpy as jnp
    >>> names_with_role(gradtx.adamw(1e-3).init(jnp.zeros(2)), "momentum")
    ['b1']

    Args:
        state: any pytree that holds states of gradtx transformations.
        role: of an interval, as `gradtx.MOMENTUM.role`.
    """
    return [each.name for each in named_hyperparams(state) if _role(each.origin) == role]


def _role(origin: Any) -> str:
    """The role in an `Origin`, or in that of the first group."""
    while not isinstance(origin, Origin):
        origin = origin[0][1]
    return origin.domain.role


def _targets(name: str, named: list[Named]) -> list[Named]:
    """What `name` means: the hyperparameter of this name, or all of this key in one kind."""
    hits = [each for each in named if each.name == name]
    hits = hits or [each for each in named if each.key == name]
    if len({each.owner.name for each in hits}) != 1:
        what = "a name that several transforms share" if hits else "a name that is not there"
        raise ValueError(
            f"set_hyperparams: `{name}` must name one hyperparameter of the state; got {what}."
            f" Use one of: {', '.join(each.name for each in named) or '(none)'}."
        )
    return hits


def _leaves(name: str, path: tuple, origin: Any, old: Any, value: Any) -> dict[tuple, jax.Array]:
    """The new leaves by path, of one hyperparameter at `path`."""
    if isinstance(origin, Origin):
        return {path: _checked(name, origin, old, value)}
    check_groups("set_hyperparams", name, old)
    groups = value if isinstance(value, dict) else dict.fromkeys(old, value)
    if not set(groups) <= set(old):
        raise ValueError(
            f"set_hyperparams: `{name}` has the groups {sorted(old)}; got {sorted(groups)}."
            " Name only groups that it has."
        )
    found = {}
    for group, inner in origin:
        if group in groups:
            place = (*path, DictKey(group))
            found |= _leaves(f"{name}[{group!r}]", place, inner, old[group], groups[group])
    return found


def _checked(name: str, origin: Origin, old: jax.Array, value: Any) -> jax.Array:
    """`value` in the dtype of `old`.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is out of range, or not decided by the state.
    """
    if origin.source != "number":
        what = "a schedule" if origin.source == "schedule" else "an array in the transform itself"
        raise ValueError(
            f"set_hyperparams: `{name}` follows {what}, which would overwrite a value set here."
            " Build the transform with a number, which is in the state and can be set."
        )
    if source_of(value) not in ("number", "array"):
        raise TypeError(
            f"set_hyperparams: `{name}` must be a number or a JAX scalar; got"
            f" {type(value).__name__} ({value!r}). Pass for example 0.1; a schedule is given where"
            " the transform is made."
        )
    if jnp.ndim(value) != 0:
        raise ValueError(
            f"set_hyperparams: `{name}` must be a scalar; got shape {jnp.shape(value)}. Use"
            " jax.vmap over set_hyperparams for many values at once."
        )
    check_domain("set_hyperparams", name, value, origin.domain)
    return jnp.asarray(value, old.dtype)
