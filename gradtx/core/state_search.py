"""Optax's search through states by name, which sees states of ours as Optax's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
from optax.tree_utils import tree_get_all_with_path as find
from optax.tree_utils import tree_set as put

from gradtx.core.hyperparams import Origin
from gradtx.core.optax_fields import as_optax
from gradtx.core.state import TransformState, is_state, states_in
from gradtx.core.tree import PyTree

Filter = Callable[[Any, Any], bool]


def tree_get_all_with_path(
    tree: PyTree, key: str, filtering: Filter | None = None
) -> list[tuple[Any, Any]]:
    """Every (path, value) in `tree` whose name is `key`.

    Names are those that Optax's states have: fields, keys of dicts, names of states. One counter
    that several parts share is found once. Where Optax's states have no such name, a state's own
    are looked at: slots, and hyperparameters that are numbers or follow a schedule. Those that an
    array decides, as under `inject_hyperparams`, are found where that array comes from alone.

    >>> import gradtx, jax.numpy as jnp
    >>> state = gradtx.inject_hyperparams(gradtx.sgd)(learning_rate=0.5).init(jnp.ones(2))
    >>> [float(value) for path, value in tree_get_all_with_path(state, "learning_rate")]
    [0.5]

    Args:
        tree: any pytree that holds states.
        key: the name.
        filtering: filtering(path, value) says which of the values found count.

    Source: Optax's function of that name.
    """
    found = find(as_optax(tree, is_state), key, filtering)  # pyright: ignore[reportArgumentType]
    found = found or find(_hidden(tree), key, filtering)  # pyright: ignore[reportArgumentType]
    counters = {id(node.count) for _, node in states_in(tree)}
    first = {id(value): path for path, value in reversed(found)}
    shared = lambda path, value: id(value) in counters and first[id(value)] != path
    return [pair for pair in found if not shared(*pair)]


def tree_get(tree: PyTree, key: str, default: Any = None, filtering: Filter | None = None) -> Any:
    """The one value in `tree` whose name is `key`: see `tree_get_all_with_path`.

    Args:
        tree: any pytree that holds states.
        key: the name.
        default: what to return where there is none.
        filtering: filtering(path, value) says which of the values found count.

    Raises:
        KeyError: if there are several.

    Source: Optax's function of that name.
    """
    found = tree_get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        paths = ", ".join(jax.tree_util.keystr(path) for path, _ in found)
        raise KeyError(
            f"tree_get: `key` must name one value; got {key!r}, which names several: {paths}. Say"
            " which with `filtering`, or use tree_get_all_with_path."
        )
    return found[0][1] if found else default


def tree_set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """A copy of `tree` in which what has one of these names has the given value.

    Hyperparameters that an array decides, as under `inject_hyperparams`, are set where that array
    comes from alone. `gradtx.set_hyperparams` checks values, too.

    >>> import gradtx, jax.numpy as jnp
    >>> state = tree_set(gradtx.sgd(0.5).init(jnp.ones(2)), learning_rate=0.25)
    >>> float(tree_get(state, "learning_rate"))
    0.25

    Args:
        tree: any pytree that holds states.
        filtering: filtering(path, value) says which of the values found are set.
        **kwargs: name -> value.

    Raises:
        KeyError: if there is no such name.

    Source: Optax's function of that name.
    """
    return _shown(put(_hidden(tree), filtering, **kwargs))


def _by_array(state: TransformState) -> list[str]:
    """The names of the hyperparameters of a state that an array decides."""
    arrays = [k for k, x in state.info.hyperparams if isinstance(x, Origin) and x.source == "array"]
    return [key for key in arrays if key in state.own_hyperparams]


def _hidden(tree: PyTree) -> PyTree:
    """`tree` with the hyperparameters that an array decides where no name leads to."""

    def hide(node: Any) -> Any:
        if not is_state(node):
            return node
        own, names = dict(node.own_hyperparams), _by_array(node)
        own[""] = tuple([own.pop(name) for name in names])
        return replace(node, own_hyperparams=own, slots=_hidden(node.slots))

    return jax.tree.map(hide, tree, is_leaf=is_state)


def _shown(tree: PyTree) -> PyTree:
    """The inverse of `_hidden`."""

    def show(node: Any) -> Any:
        if not is_state(node) or "" not in node.own_hyperparams:
            return node
        own = dict(node.own_hyperparams)
        values = own.pop("")
        names = [key for key, _ in node.info.hyperparams if key not in own]
        own |= zip(names, values, strict=True)
        return replace(node, own_hyperparams=own, slots=_shown(node.slots))

    return jax.tree.map(show, tree, is_leaf=is_state)
