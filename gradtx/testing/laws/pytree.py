"""Laws of the state as a pytree: JAX and other libraries may take it apart and put it together.

They map a state to `None`, to shapes, to shardings, to bytes and to objects of their own. A tree
whose structure or whose keys depend on what stands in it does not survive that.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from gradtx.core.tree import is_none
from gradtx.testing.law import law
from gradtx.testing.run import require, run

PyTree = Any


class Wrapped:
    """An object that JAX knows nothing of, around a leaf."""

    def __init__(self, leaf: Any):
        """Keep the leaf."""
        self.leaf = leaf


STAND_INS: dict[str, Callable[[Any], Any]] = {
    "object()": lambda leaf: object(),
    "a wrapper": Wrapped,
    "a string": lambda leaf: "leaf",
    "a shape": lambda leaf: jax.ShapeDtypeStruct(jax.numpy.shape(leaf), "float32"),
    "a sharding": lambda leaf: jax.sharding.SingleDeviceSharding(jax.devices()[0]),
}


def _states(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> Iterator[tuple[str, PyTree]]:
    yield "init's state", tx.init(params)
    yield "the state after an update", run(tx, params, grads).state


def _same_leaves(where: str, got: Sequence[Any], want: Sequence[Any]) -> None:
    same = len(got) == len(want) and all(a is b for a, b in zip(got, want, strict=True))
    require(same, f"{where}: has the leaves {got}, not {want}")


@law(trees="vector", steps=(1, 1), cost=20)
def state_survives_none(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Every leaf of a state may be mapped to `None`, and the state is still there to be filled.

        structure(map(x -> None, s)) = structure(s),  with None as a leaf

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    for which, state in _states(tx, params, grads):
        leaves, treedef = jax.tree.flatten(state, is_leaf=is_none)
        nothing = jax.tree.map(lambda leaf: None, state, is_leaf=is_none)
        emptied = jax.tree.structure(nothing, is_leaf=is_none)
        require(emptied == treedef, f"{which}, mapped to None: {emptied}; it was {treedef}")
        back = emptied.unflatten(leaves)
        _same_leaves(f"{which}, filled again", jax.tree.leaves(back, is_leaf=is_none), leaves)


@law(trees="vector", steps=(1, 1), cost=20)
def state_takes_any_leaf(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """An object of any kind may stand in the place of any leaf of a state, and is found there.

        s' = unflatten(structure(s), xs)  =>  leaves(s') = xs,  structure(s') = structure(s)

    The objects `xs` are JAX's shapes and shardings, strings, and what JAX knows nothing of.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    for which, state in _states(tx, params, grads):
        leaves, treedef = jax.tree.flatten(state)
        for kind, stand_in in STAND_INS.items():
            where = f"{which}, with {kind} for a leaf"
            every = [stand_in(leaf) for leaf in leaves]
            # All of them, and each alone: a node may look at one child to know about another.
            for given in (every, *(_but_one(leaves, i, x) for i, x in enumerate(every))):
                put = treedef.unflatten(given)
                _same_leaves(where, jax.tree.leaves(put), given)
                got = jax.tree.structure(put)
                require(got == treedef, f"{where}: the tree is {got}; it was {treedef}")


def _but_one(leaves: Sequence[Any], place: int, other: Any) -> list[Any]:
    return [other if i == place else leaf for i, leaf in enumerate(leaves)]


@law(trees="vector", steps=(1, 1), cost=20)
def state_unflattens(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Flattening a state and unflattening are inverse, and every leaf has a path of its own.

        unflatten(flatten(s)) = s        leaves_with_path(s) = {path_i: leaf_i},  path_i != path_j

    The paths are those of any state of this structure.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    for which, state in _states(tx, params, grads):
        leaves, treedef = jax.tree.flatten(state)
        back, again = jax.tree.flatten(treedef.unflatten(leaves))
        _same_leaves(f"{which}, put together again", back, leaves)
        require(again == treedef, f"{which}, put together again: {again}; it was {treedef}")
        pairs, keyed = jax.tree_util.tree_flatten_with_path(state)
        _same_leaves(f"{which}, flattened with keys", [leaf for _, leaf in pairs], leaves)
        require(keyed == treedef, f"{which}, flattened with keys: {keyed}; without {treedef}")
        paths = _paths(state)
        twice = sorted({path for path in paths if paths.count(path) > 1})
        require(not twice, f"{which}: more than one leaf at {', '.join(twice)}")
        others = _paths(treedef.unflatten([object() for _ in leaves]))
        require(others == paths, f"{which}: the paths are {paths}, and once more {others}")


def _paths(tree: PyTree) -> list[str]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [jax.tree_util.keystr(path) for path, _ in pairs]
