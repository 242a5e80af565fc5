"""The one state type, and what a transform says about itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from gradtx.core.tree import PyTree, upcast


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True)
class TransformState:
    """The state of every gradtx transform.

    `hyperparams` are read with `gradtx.hyperparams(state)` and set with
    `gradtx.set_hyperparams(state, ...)`. `slots` is what the transform remembers: for a leafwise
    one a dict of trees like `params`, for a chain the states of its parts.

    The counter flattens to `{"count": count}`, or `{}` where there is none, which is what
    `optax.tree_utils.tree_get(state, "count")` looks for: it finds the one counter of a chain.
    """

    name: str
    count: jax.Array | None  # int32[]: updates made so far; None inside a chain, which counts
    hyperparams: dict[str, Any]
    slots: Any

    def tree_flatten_with_keys(self):
        """The children with their names, and the transform's name, as JAX asks for them."""
        counter = {} if self.count is None else {"count": self.count}
        children = {"count": counter, "hyperparams": self.hyperparams, "slots": self.slots}
        return [(jax.tree_util.GetAttrKey(key), x) for key, x in children.items()], self.name

    @classmethod
    def tree_unflatten(cls, name: str, children: Any):
        """The inverse of flattening."""
        counter, hyperparams, slots = children
        # While it works on a tree, JAX may put objects of its own in the place of a child.
        count = counter.get("count") if isinstance(counter, dict) else counter
        return cls(name, count, hyperparams, slots)


@dataclass(frozen=True)
class Structure:
    """What a transform was built from, for `describe`: found as `tx.update.structure`.

    `select` maps a tree of parameters to what each of `parts` sees of it, `None` for the leaves
    that it does not see; without it, every part sees all.
    """

    name: str
    hyperparams: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Any, ...] = ()
    select: Callable[[PyTree], tuple[PyTree, ...]] | None = None


def is_state(node: Any) -> bool:
    """Whether `node` is a gradtx state; for `jax.tree.*(..., is_leaf=is_state)`."""
    return isinstance(node, TransformState)


def states_in(tree: Any) -> Iterator[TransformState]:
    """Every gradtx state inside `tree`, the outer before the inner."""
    for node in jax.tree.leaves(tree, is_leaf=is_state):
        if is_state(node):
            yield node
            yield from states_in(node.slots)


def without_count(state: Any) -> Any:
    """`state` without its counter, if it is a gradtx state: for a transform that counts for it."""
    return replace(state, count=None) if is_state(state) else state


def with_count(state: Any, count: jax.Array) -> Any:
    """The inverse of `without_count`."""
    return replace(state, count=count) if is_state(state) else state


def update_inner(
    inner: Any, updates: PyTree, state: Any, params: PyTree, count: jax.Array, /, **extra: Any
) -> tuple[PyTree, Any]:
    """The update of a transform inside another that counts for it, and its state without_count.

    A gradtx transform is given updates in at least float32, so that its steps are not rounded to
    the gradients' dtype before the outer one adds them up.
    """
    precise = upcast(updates) if is_state(state) else updates
    updates, state = inner.update(precise, with_count(state, count), params, **extra)
    return updates, without_count(state)
