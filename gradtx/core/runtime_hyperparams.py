"""Read and set the hyperparameters that live in a state."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import check_domain, source_of, values_of
from gradtx.core.state import TransformState, is_state, states_in


def hyperparams(state: Any) -> dict[str, Any]:
    """The hyperparameters that the last update used, by name.

    `state` is any pytree that holds gradtx states: of a chain, of a part inside an Optax chain, a
    whole training state. A value is a float32 scalar, or a dict of them by group. A name that two
    transforms share is qualified: `scale_by_rms.decay`; where transforms of one kind share it (a
    `partition`), by number: `scale_by_rms[1].decay`.

    >>> import gradtx
    >>> state = gradtx.adamw(1e-3).init({"w": jnp.ones(2)})
    >>> sorted(gradtx.hyperparams(state))
    ['b1', 'b2', 'eps', 'learning_rate', 'weight_decay']
    """
    return {
        name: values_of({name: owner.hyperparams[key]})[name]
        for name, _, owner, key in _named(state)
    }


def set_hyperparams(state: Any, **values: Any) -> Any:
    """A copy of `state` whose next updates use the given values.

    A bare name sets the hyperparameter in every transform that has it, provided that they are all
    of one kind (a `partition` of several adamw); otherwise qualify it as `hyperparams` does:
    `set_hyperparams(state, **{"scale_by_rms.decay": 0.9})`. A value is a number or a scalar, also a
    traced one; for one that differs between groups also a dict of new values by group. Shapes,
    dtypes and structure do not change, so nothing is recompiled.

    >>> import gradtx
    >>> state = gradtx.sgd(0.1).init(jnp.ones(2))
    >>> state = gradtx.set_hyperparams(state, learning_rate=0.01)
    >>> round(float(gradtx.hyperparams(state)["learning_rate"]), 6)
    0.01

    Raises:
        TypeError: for a value that is no number.
        ValueError: for a state without hyperparameters of gradtx, a name that no transform has or
            that is ambiguous, a value outside the hyperparameter's interval, or one that a
            schedule or an array decides.
    """
    if values and next(states_in(state), None) is None:
        raise ValueError(
            f"set_hyperparams: `state` must hold a state of a gradtx transformation; got"
            f" {type(state).__name__}, which holds none. Pass what `init` or `update` returned."
        )
    new: dict[tuple[int, str], Any] = {}
    for name, value in values.items():
        for i, owner, key in _targets(name, list(_named(state))):
            new[i, key] = _with_value(name, owner.hyperparams[key], value)
    places = iter(range(len(list(states_in(state)))))

    def rebuild(node: Any) -> Any:
        if not is_state(node):
            return node
        i = next(places)
        mine = {key: new.get((i, key), old) for key, old in node.hyperparams.items()}
        return replace(node, hyperparams=mine, slots=_map_states(rebuild, node.slots))

    return _map_states(rebuild, state)


def qualified_names(state: Any) -> dict[str, str]:
    """The names of `hyperparams`, each with that of its transform: `decay` -> `ema.decay`."""
    return {name: f"{owner.name}.{key}" for name, _, owner, key in _named(state)}


def _map_states(f: Any, tree: Any) -> Any:
    return jax.tree.map(f, tree, is_leaf=is_state)


def _named(state: Any) -> Iterator[tuple[str, int, TransformState, str]]:
    """(unambiguous name, owner's place, owner, key) for every hyperparameter in `state`."""
    owners = list(states_in(state))
    for i, owner in enumerate(owners):
        for key in owner.hyperparams:
            rivals = [o for o in owners if key in o.hyperparams]
            twins = [o for o in rivals if o.name == owner.name]
            if len(rivals) == 1:
                yield key, i, owner, key
            elif len(twins) == 1:
                yield f"{owner.name}.{key}", i, owner, key
            else:
                number = sum(o.name == owner.name and key in o.hyperparams for o in owners[:i])
                yield f"{owner.name}[{number}].{key}", i, owner, key


def _targets(name: str, named: list) -> list[tuple[int, TransformState, str]]:
    """(owner's place, owner, key) for each hyperparameter that `name` means."""
    exact = [(i, owner, key) for full, i, owner, key in named if name == full]
    hits = exact or [(i, owner, key) for _, i, owner, key in named if name == key]
    if len({owner.name for _, owner, _ in hits}) != 1:
        what = "a name that several transforms share" if hits else "a name that is not there"
        raise ValueError(
            f"set_hyperparams: `{name}` must name one hyperparameter of the state; got {what}."
            f" Use one of: {', '.join(full for full, *_ in named) or '(none)'}."
        )
    return hits


def _with_value(name: str, old: Any, value: Any) -> Any:
    if isinstance(old, dict):
        groups = value if isinstance(value, dict) else dict.fromkeys(old, value)
        if not set(groups) <= set(old):
            raise ValueError(
                f"set_hyperparams: `{name}` has the groups {sorted(old)}; got {sorted(groups)}."
                " Name only groups that it has."
            )
        return old | {g: _with_value(f"{name}[{g!r}]", old[g], v) for g, v in groups.items()}
    if old.source != "number":
        what = "a schedule" if old.source == "schedule" else "an array in the transform itself"
        raise ValueError(
            f"set_hyperparams: `{name}` follows {what}, which would overwrite a value set here."
            " Build the transform with a number to set it live."
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
    check_domain("set_hyperparams", name, value, old.domain)
    return replace(old, value=jnp.asarray(value, old.value.dtype))
