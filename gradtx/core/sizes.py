"""How many numbers and bytes there are of what, on all devices and on one."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from gradtx.core.state import is_state, numbered
from gradtx.core.tree import PyTree, dtype_of, is_named_tuple, shape_of


class Size(NamedTuple):
    """How large some arrays are.

    Args:
        numbers: of the elements.
        bytes: of them, each counted once.
        device_bytes: those of them that one device holds: all, unless they are on a mesh.
    """

    numbers: int = 0
    bytes: int = 0
    device_bytes: int = 0

    def plus(self, other: "Size") -> "Size":
        """Both together.

        Args:
            other: of other arrays.
        """
        return Size(*map(sum, zip(self, other, strict=True)))


def size_of(tree: PyTree) -> Size:
    """The size of all arrays of a tree.

    >>> import jax.numpy as jnp
    >>> size_of({"a": jnp.ones((2, 3)), "b": jnp.ones(4, jnp.bfloat16)})
    Size(numbers=10, bytes=32, device_bytes=32)

    Args:
        tree: of arrays, or of `jax.ShapeDtypeStruct`s.
    """
    total = Size()
    for x in jax.tree.leaves(tree):
        shape, each = shape_of(x), dtype_of(x).itemsize
        sharding = getattr(x, "sharding", None)
        part = shape if sharding is None else sharding.shard_shape(shape)
        numbers = math.prod(shape)
        total = total.plus(Size(numbers, numbers * each, math.prod(part) * each))
    return total


def belongings(tree: PyTree, params: PyTree) -> list[int | None]:
    """For each leaf of a tree the number of the parameter that it belongs to, or None.

    A leaf belongs to a parameter if its path ends with the parameter's, and it has its shape: a
    moment, an averaged parameter.

    Args:
        tree: of arrays, or their shapes: a state.
        params: the parameters.
    """
    known = {
        (path, shape_of(p)): i for i, (path, p) in enumerate(jax.tree.leaves_with_path(params))
    }

    def owner(path: tuple, leaf: Any) -> int | None:
        ends = ((path[i:], shape_of(leaf)) for i in range(len(path) + 1))
        return next((known[end] for end in ends if end in known), None)

    return [owner(path, leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def state_shapes(tx: Any, params: PyTree) -> PyTree:
    """The form of `tx.init(params)`, where a mesh would have it: what belongs to a parameter there.

    Args:
        tx: a gradient transformation.
        params: a tree of arrays, or their shapes.
    """
    state = jax.eval_shape(tx.init, params)
    given = [getattr(p, "sharding", None) for p in jax.tree.leaves(params)]
    leaves, structure = jax.tree.flatten(state)
    placed = [
        x if i is None else jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=given[i])
        for x, i in zip(leaves, belongings(state, params), strict=True)
    ]
    return structure.unflatten(placed)


REST = "hyperparameters, counters"


def state_sizes(state: PyTree, params: PyTree) -> list[tuple[str, Size]]:
    """What each part of an optimizer remembers: (its name, the size), of those that remember some.

    The parts of a group have its name before theirs. Last come the hyperparameters and counters,
    those of all parts together.

    >>> import gradtx, jax.numpy as jnp
    >>> state = gradtx.adamw(0.1).init(jnp.ones(5))
    >>> [(name, size.numbers) for name, size in state_sizes(state, jnp.ones(5))]
    [('scale_by_adam', 10), ('hyperparameters, counters', 7)]

    Args:
        state: of gradtx or of Optax, or its shapes.
        params: the parameters.
    """
    parts = [*_parts(state, "", _tuples_in(params))]
    found = [(name, size_of(own)) for name, own, _ in parts]
    found = [(name, size) for name, size in found if size.numbers]
    names = numbered([name for name, _ in found])
    sizes = [(name, size) for name, (_, size) in zip(names, found, strict=True)]
    rest = size_of([x for _, _, more in parts for x in more])
    return [*sizes, (REST, rest)] if rest.numbers else sizes


def _tuples_in(params: PyTree) -> set[type]:
    """The types of the NamedTuples that parameters are in, which moments are in as well."""
    found: set[type] = set()

    def look(node: Any) -> bool:
        if is_named_tuple(node):
            found.add(type(node))
        return False

    jax.tree.leaves(params, is_leaf=look)
    return found


def _parts(node: Any, label: str, own: set[type]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """(name, arrays, hyperparameters and counters) of a state, and of each state inside it."""
    is_part = lambda x: is_state(x) or (is_named_tuple(x) and type(x) not in own)
    name, rest = f"{label}state", []
    if is_state(node):
        name, rest = label + node.name, jax.tree.leaves([node.counter, node.own_hyperparams])
        node = node.slots
    elif is_part(node):
        name, node = label + type(node).__name__.removesuffix("State"), [*node]
    inside = jax.tree_util.tree_leaves_with_path(node, is_leaf=is_part)
    leaves = [x for _, x in inside if not is_part(x)]
    yield name, [x for x in leaves if shape_of(x)], rest + [x for x in leaves if not shape_of(x)]
    for path, part in inside:
        if is_part(part):
            yield from _parts(part, label + _label(path), own)


def _label(path: tuple) -> str:
    """What groups are called, before the names of their parts; those of a mask have no name."""
    keys = [str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey)]
    return "".join(f"{key}." for key in keys if key not in ("True", "False"))
