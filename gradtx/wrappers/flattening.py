"""An optimizer on one vector in place of a tree."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradtx.core.state import structure_of, update_inner, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, cast_like, dtype_of, is_none, path_name, same_form, shape_of

Vectors = dict[str, jax.Array]


def flatten(inner: optax.GradientTransformation) -> GradientTransformationExtraArgs:
    """Let `inner` work on one vector for each dtype, in place of a tree of many leaves.

        u = unflatten(inner(flatten(g), flatten(p)))        flatten = all leaves, one after another

    The state of `inner` holds vectors as well: an update that is a call of its own has few arrays
    to pass, which is what it costs on a GPU. Inside a larger program it costs copies; there, and on
    a CPU, leave it out. A mesh that splits parameters can't split the vectors alike.

    `inner` must be elementwise, or use norms over all leaves: what has a rule for each leaf or
    group is refused, where it is gradtx's or says so (`leafwise(per_leaf=True)`). Other groups of
    parameters go outside: `partition({"a": flatten(adam(0.1)), ...}, labels)`.

    >>> import gradtx
    >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    >>> state = flatten(gradtx.adam(0.1)).init(params)
    >>> [x.shape for x in jax.tree.leaves(state.slots["inner"].slots[0].slots["mu"])]
    [(6,)]

    Args:
        inner: the transformation of the vectors.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: if a part of `inner` treats leaves or groups apart; on `update`, naming the
            leaf, if a parameter has no gradient.
    """
    inner = as_transformation("flatten", "`inner`", inner)
    if apart := next(_per_leaf(inner), None):
        raise ValueError(
            f"flatten: `inner` must treat all numbers alike; got {apart}, which treats each leaf or"
            " group of leaves in its own way. Leave `flatten` out, or put it inside: a `partition`"
            " whose transforms are flattened."
        )

    def init(params: PyTree) -> dict[str, Any]:
        return {"inner": without_count(inner.init(_vectors(params, params)))}

    def update(updates: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        like = updates if params is None else params
        _check_gradients(updates, like)
        flat = lambda tree: _vectors(tree, like)
        ps = None if params is None else flat(params)
        extra = {key: flat(x) if same_form(x, updates) else x for key, x in extra.items()}
        u, state = update_inner(inner, flat(updates), slots["inner"], ps, h.count, **extra)
        return _unflattened(u, updates, like), {"inner": state}

    return transformation("flatten", init, update, parts=(inner,))


def _per_leaf(tx: Any) -> Iterator[str]:
    """The names of what treats leaves apart in a transformation."""
    structure = structure_of(tx)
    if structure is not None:
        if structure.per_leaf:
            yield structure.name
        for part in structure.parts:
            yield from _per_leaf(part)


def _check_gradients(updates: PyTree, params: PyTree) -> None:
    grads = jax.tree.leaves_with_path(updates, is_leaf=is_none)
    for (path, g), p in zip(grads, jax.tree.leaves(params, is_leaf=is_none), strict=True):
        if g is None and p is not None:
            raise ValueError(
                f"flatten.update: every parameter must have a gradient; got None at"
                f" {path_name(path)}. Pass zeros, or leave `flatten` out."
            )


def _places(like: PyTree) -> dict[str, list[int]]:
    """The numbers of the leaves in each vector."""
    found: dict[str, list[int]] = {}
    for i, x in enumerate(jax.tree.leaves(like)):
        found.setdefault(str(dtype_of(x)), []).append(i)
    return found


def _vectors(tree: PyTree, like: PyTree) -> Vectors:
    """The leaves of `tree` in vectors: those together that have one dtype in `like`."""
    leaves = jax.tree.leaves(tree)
    return {
        name: jnp.concatenate([jnp.ravel(leaves[i]) for i in places])
        for name, places in _places(like).items()
    }


def _unflattened(vectors: Vectors, tree: PyTree, like: PyTree) -> PyTree:
    """The inverse: a tree of the shapes and the floating dtypes of `tree`."""
    leaves, treedef = jax.tree.flatten(tree)
    out = list(leaves)
    for name, places in _places(like).items():
        ends = np.cumsum([int(np.prod(shape_of(leaves[i]))) for i in places])
        for part, i in zip(jnp.split(vectors[name], ends[:-1]), places, strict=True):
            out[i] = cast_like(part.reshape(shape_of(leaves[i])), leaves[i])
    return treedef.unflatten(out)
