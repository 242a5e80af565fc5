"""What `layer_health` measures: norms, shares of the chain's parts, and words."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.apply import apply_updates
from gradtx.core.parts import Passed, pass_through
from gradtx.core.root import root
from gradtx.core.tree import PyTree, as_dtype, compute_dtype, global_norm, is_none, path_name
from gradtx.loop.again import with_those_it_takes

# The hooks that change gradients or updates: what is measured is what they leave.
EARLIER = ("loss_scaling", "accumulate_gradients", "clip_gradients", "skip_nonfinite", "freeze")


def names_of(tree: PyTree) -> tuple[str, ...]:
    """The path of each leaf, with dots.

    Args:
        tree: any pytree.
    """
    return tuple(path_name(path).replace("/", ".") for path, _ in jax.tree.leaves_with_path(tree))


def norms_of(tree: PyTree) -> jax.Array:
    """The Euclidean norm of each leaf: float32[leaves].

    Args:
        tree: a tree of arrays.
    """
    wide = lambda x: as_dtype(x, compute_dtype(x))
    squares = [jnp.vdot(wide(x), wide(x)).real for x in jax.tree.leaves(tree)]
    return root(jnp.stack([square.astype(jnp.float32) for square in squares]))


def have_moved(params: PyTree, updates: PyTree) -> jax.Array:
    """Whether the updates change the parameters at all, for each leaf: bool[leaves].

        moved = any(p + u != p)        in the dtype of p

    Args:
        params: a tree of arrays.
        updates: a tree like it.
    """
    pairs = zip(
        jax.tree.leaves(apply_updates(params, updates)), jax.tree.leaves(params), strict=True
    )
    return jnp.stack([jnp.any(new != old) for new, old in pairs])


def passed_parts(
    tx: Any, grads: PyTree, opt_state: Any, params: PyTree, value: Any
) -> list[Passed]:
    """What each part of the chain makes of the gradients: see `gradtx.core.parts`.

    Args:
        tx: the optimizer.
        grads: the gradients.
        opt_state: its state before the step.
        params: the parameters.
        value: the objective, which some optimizers ask for.
    """
    call = partial(pass_through, tx, grads, opt_state, params)
    return with_those_it_takes(call, {"value": value, "grad": grads})


def shares_of(parts: Sequence[Passed]) -> tuple[jax.Array, jax.Array]:
    """What each part changes, and by how much the norm grows: two of float32[parts].

        share = min(|after - before|, |after + before|) / max(|before|, |after|)
        factor = |after| / |before|

    Norms are over all leaves that the part sees; both are 0 where there is nothing to divide by.
    A turn of the sign alone counts for nothing, so a share of `clip` and of a learning rate is what
    it takes away, and that of a decay is what it adds. Of a turn, rounding leaves up to 1e-3.

    Args:
        parts: as `passed_parts` returns them.
    """
    known: dict[tuple[int, ...], jax.Array] = {}  # what a part leaves is what the next one is given

    def square(tree: PyTree) -> jax.Array:
        leaves = tuple(map(id, jax.tree.leaves(tree)))
        if leaves not in known:
            known[leaves] = jnp.square(global_norm(tree))
        return known[leaves]

    pairs = [_share(part, square) for part in parts]
    if not pairs:
        return jnp.zeros(0, jnp.float32), jnp.zeros(0, jnp.float32)
    shares, factors = zip(*pairs, strict=True)
    return jnp.stack(shares), jnp.stack(factors)


def _share(part: Passed, square: Callable[[PyTree], jax.Array]) -> tuple[jax.Array, jax.Array]:
    before, after = square(part.before), square(part.after)
    apart = jnp.square(global_norm(_less(part.after, part.before)))
    # |a + b|^2 = 2 |a|^2 + 2 |b|^2 - |a - b|^2, so that the numbers are not read once more.
    turned = jnp.maximum(2 * (before + after) - apart, 0)
    ratio = lambda a, b: root(jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)).astype(jnp.float32)
    return ratio(jnp.minimum(apart, turned), jnp.maximum(before, after)), ratio(after, before)


def _less(after: PyTree, before: PyTree) -> PyTree:
    """`after - before`; `after` where the part has changed the structure."""
    if jax.tree.structure(after) != jax.tree.structure(before):
        return after

    def less(a: Any, b: Any) -> Any:
        dtype = compute_dtype(a, b)
        return as_dtype(a, dtype) - as_dtype(b, dtype)

    return jax.tree.map(
        lambda a, b: None if a is None else less(a, b), after, before, is_leaf=is_none
    )


def said(
    counts: Any, names: Sequence[str], one: Callable[[str], str], many: str, most: int = 5
) -> dict[str, int]:
    """Counts of faults by what there is to say, with the layers' names; one line for many layers.

    Args:
        counts: int[layers], of each layer's faults.
        names: of the layers.
        one: the words for a layer.
        many: the words for several, which come after their number.
        most: how many layers have a line each.
    """
    found = [(name, int(count)) for name, count in zip(names, counts, strict=True) if count]
    if len(found) <= most:
        return {one(name): count for name, count in found}
    return {f"{len(found)} of {len(names)} layers {many}": max(count for _, count in found)}
