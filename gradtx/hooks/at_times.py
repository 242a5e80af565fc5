"""Measure at some steps only, so that the others cost little."""

from collections.abc import Callable
from typing import TypeVar

import jax

from gradtx.core.tree import PyTree

Found = TypeVar("Found")


def at_times(
    due: jax.Array, measure: Callable[[], Found], last: Found, tree: PyTree
) -> tuple[Found, PyTree]:
    """What `measure()` finds where it is due, else `last`; and the same tree.

    What is made of the tree that is returned, is made after the measurement: it comes out of the
    `cond`, in the memory that it went in. XLA is else free to make the step first, and then copies
    what that writes over and is still to be measured, the parameters and the moments, at every
    step, due or not. The barrier keeps JAX from leading the tree past the `cond`.

    Args:
        due: bool[].
        measure: a function of nothing.
        last: like what it returns.
        tree: any arrays: the gradients before a step, the updates after one.
    """

    def and_tree(find: Callable[[], Found]) -> Callable[[], tuple[Found, PyTree]]:
        return lambda: (find(), jax.lax.optimization_barrier(tree))

    return jax.lax.cond(due, and_tree(measure), and_tree(lambda: last))
