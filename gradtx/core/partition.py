"""Different transforms for different parameters."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.groups import Grouping, labels_of, matching, some
from gradtx.core.state import with_count, without_count
from gradtx.core.transformation import (
    GradientTransformation,
    as_transformation,
    identity,
    transformation,
)
from gradtx.core.tree import PyTree, is_none, path_name

Mask = str | PyTree | Callable[[PyTree], PyTree]


def set_to_zero() -> GradientTransformation:
    """Replace each update by zero.

    u = 0
    """
    zero = lambda g, slots, params, h, **extra: (jax.tree.map(jnp.zeros_like, g), slots)
    return transformation("set_to_zero", lambda params: {}, zero)


def partition(
    transforms: Mapping[Any, optax.GradientTransformation],
    param_labels: Grouping,
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformation:
    """Give each group of parameters a transform of its own.

        u[leaf] = transforms[label of leaf](g)[leaf]

    `param_labels` is a tree of labels, a prefix of one, or a function from the parameters to one,
    such as `gradtx.label_by(...)`. Each transform sees trees that hold `None` for the leaves of the
    others, so it has no state for them; Optax's transforms take this as well as gradtx's. One
    counter serves all gradtx parts. A transform whose label no leaf has stays idle. With
    `mask_compatible_extra_args`, an extra argument shaped like `updates` is divided, too.

    If only hyperparameters differ between the groups, `gradtx.by_group` does it in one pass.

    >>> import gradtx, jax.numpy as jnp
    >>> tx = partition(
    ...     {"slow": gradtx.sgd(0.1), "fast": gradtx.sgd(1.0)},
    ...     gradtx.label_by(slow="body/*", fast="*"),
    ... )
    >>> params = {"body": {"w": jnp.ones(1)}, "head": {"w": jnp.ones(1)}}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> float(updates["body"]["w"][0]), float(updates["head"]["w"][0])
    (-0.10000000149011612, -1.0)

    Raises:
        ValueError: on `init`, if a leaf has a label without a transform, or none.
    """
    return _partition("partition", transforms, param_labels, mask_compatible_extra_args)


multi_transform = partition


def _partition(
    name: str, transforms: Mapping, grouping: Grouping, divide_extra: bool = False
) -> GradientTransformation:
    parts = {
        label: as_transformation(name, "every transform", tx) for label, tx in transforms.items()
    }

    def split(tree: PyTree) -> dict[Hashable, PyTree]:
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_none)
        labels = treedef.flatten_up_to(labels_of(name, grouping, tree, parts))
        mine = lambda want: [x if x is not None and w == want else None for x, w in pairs]
        pairs = list(zip(leaves, labels, strict=True))
        if not any(x is not None for x in leaves):
            return dict.fromkeys(parts, tree)
        return {label: treedef.unflatten(mine(label)) for label in parts}

    def init(params: PyTree) -> dict[Hashable, Any]:
        given = split(params)
        return {label: without_count(part.init(given[label])) for label, part in parts.items()}

    def update(updates: PyTree, states: dict, params: PyTree, h: Any, **extra: Any):
        if not isinstance(states, dict) or set(states) != set(parts):
            got = list(states) if isinstance(states, dict) else type(states).__name__
            raise ValueError(
                f"{name}.update: `state` must hold a state for each of {list(parts)}; got {got}."
                f" Pass the state that `init` of this same {name} returned."
            )
        structure = jax.tree.structure(updates)
        like = {k: split(v) for k, v in extra.items() if jax.tree.structure(v) == structure}
        gs, ps = split(updates), dict.fromkeys(parts) if params is None else split(params)
        outs, new = [], {}
        for label, part in parts.items():
            if params is not None and ps[label] is None:
                # The tree is one bare leaf, and another group's: this part stays idle.
                outs.append(None)
                new[label] = states[label]
                continue
            mine = extra | {k: v[label] for k, v in like.items()} if divide_extra else extra
            u, state = part.update(gs[label], with_count(states[label], h.count), ps[label], **mine)
            outs.append(u)
            new[label] = without_count(state)
        return _merge(updates, outs), new

    select = lambda params: tuple(split(params).values())
    return transformation(name, init, update, parts=tuple(transforms.values()), select=select)


def _merge(like: PyTree, trees: list[PyTree]) -> PyTree:
    """The tree that has each leaf from the one of `trees` in which it is not `None`."""
    treedef = jax.tree.structure(like, is_leaf=is_none)
    rows = zip(*(treedef.flatten_up_to(tree) for tree in trees), strict=True)
    return treedef.unflatten([next((x for x in row if x is not None), None) for row in rows])


def masked(
    inner: optax.GradientTransformation, mask: Mask, *, mask_compatible_extra_args: bool = False
) -> GradientTransformation:
    """Transform the updates where `mask` is True and leave the others as they are.

        u = inner(g)  where mask else  g

    `mask` is a tree of bools, a prefix of one, a function from the parameters to one, such as
    `gradtx.matching(...)`, or a path pattern. `inner` has state for the leaves it transforms only.

    >>> import gradtx, jax.numpy as jnp
    >>> tx = masked(gradtx.sgd(1.0), "*kernel")
    >>> params = {"bias": jnp.ones(1), "kernel": jnp.ones(1)}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> float(updates["bias"][0]), float(updates["kernel"][0])
    (1.0, -1.0)
    """
    parts = {True: inner, False: identity()}
    return _partition("masked", parts, _labels(mask), mask_compatible_extra_args)


def freeze(tx_or_mask: Any = None, frozen: Mask | None = None, *, mask: Mask | None = None):
    """Keep the parameters where `frozen` is True still, whatever `tx` would do to them.

        u = 0  where frozen else  tx(g)

    Frozen parameters have no state and never move, not by decay either, and a NaN in their
    gradients does no harm. `frozen` is what `masked` takes for `mask`. To spare their gradients,
    too, don't differentiate with respect to them, or pass `None`.

    Called with a mask alone, `freeze(mask)` is Optax's function of the name: it only zeroes the
    gradients, so that a decay that comes after it in a chain does move these parameters.

    >>> import gradtx, jax.numpy as jnp
    >>> tx = freeze(gradtx.adamw(0.1), "body/*")
    >>> params = {"body": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2)}}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> updates["body"]["w"].tolist()
    [0.0, 0.0]

    Raises:
        ValueError: on `init`, if `frozen` is a pattern that no parameter's path matches.
    """
    if frozen is None:
        mask = tx_or_mask if mask is None else mask
        tx = masked(set_to_zero(), mask)
        return _must_match("freeze", tx, mask) if isinstance(mask, str) else tx
    tx = _partition("freeze", {False: tx_or_mask, True: set_to_zero()}, _labels(frozen))
    return _must_match("freeze", tx, frozen) if isinstance(frozen, str) else tx


def _must_match(where: str, tx: GradientTransformation, pattern: str) -> GradientTransformation:
    """`tx`, whose `init` refuses parameters of which none matches `pattern`: it is misspelled."""

    def init(params: PyTree) -> Any:
        paths = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        if paths and not any(jax.tree.leaves(matching(pattern)(params))):
            raise ValueError(
                f"{where}.init: a pattern must match a parameter; got {pattern!r}, which matches"
                f" none. The paths: {some(paths)}. Patterns are matched against the whole path."
            )
        return tx.init(params)

    start: Any = init
    return GradientTransformation(start, tx.update)


def selective_transform(
    optimizer: optax.GradientTransformation, *, freeze_mask: Mask
) -> GradientTransformation:
    """`freeze(optimizer, freeze_mask)`, by the name that it has in Optax."""
    return freeze(optimizer, freeze_mask)


def _labels(mask: Mask) -> Grouping:
    mask = matching(mask) if isinstance(mask, str) else mask

    def labels(tree: PyTree) -> PyTree:
        made = mask(tree) if callable(mask) else mask
        return jax.tree.map(lambda m: m if m is None else bool(m), made, is_leaf=is_none)

    return labels
