"""Flax's boxes around leaves: what is inside, and the paths without them."""

from typing import Any

import jax

from gradtx.core.tree import PyTree, is_none, path_name


def is_box(node: Any) -> bool:
    """Whether `node` is Flax's box around a leaf: an nnx variable, or linen's with axis names."""
    return hasattr(type(node), "get_metadata") or hasattr(type(node), "replace_boxed")


def unboxed(tree: PyTree) -> PyTree:
    """`tree` with the leaf in the place of every box, where there is one."""
    open_ = lambda x: next(iter(jax.tree.leaves(x)), x) if is_box(x) else x
    return jax.tree.map(open_, tree, is_leaf=lambda x: x is None or is_box(x))


def named_leaves(tree: PyTree) -> list[tuple[str, Any]]:
    """(path as text, leaf) of every leaf of `tree`, `None`s too.

    A box around a leaf has no part in the path: `conv/kernel`, for an nnx variable as for an array.
    """
    found = []
    ends = lambda x: x is None or is_box(x)
    for path, node in jax.tree_util.tree_flatten_with_path(tree, is_leaf=ends)[0]:
        leaves = jax.tree.leaves(node, is_leaf=is_none) if is_box(node) else [node]
        found += [(path_name(path), leaf) for leaf in leaves]
    return found
