"""Different transforms for different parameters."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from gradtx.core.groups import Grouping, labels_for, labels_of, mask_of
from gradtx.core.state import update_after, with_count, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    identity,
    transformation,
)
from gradtx.core.tree import PyTree, cast_like, is_none, path_name, shape_of, upcast
from gradtx.kinds import Kind, alias, checked, takes

BOOLS = ("bool", "int", "uint")  # as which dtypes a bool may come


def _is_bool(leaf: Any) -> bool:
    if hasattr(leaf, "dtype") and not isinstance(leaf, Tracer):
        return shape_of(leaf) == () and str(leaf.dtype).startswith(BOOLS)
    return isinstance(leaf, int) and leaf in (0, 1)


def _is_mask(mask: Any) -> bool:
    return isinstance(mask, str) or takes(mask, 1) or all(map(_is_bool, jax.tree.leaves(mask)))


Mask = Annotated[
    Any,  # str | PyTree | Callable[[PyTree], PyTree]
    Kind("a tree of bools, a function that makes one of the parameters, or a pattern", _is_mask),
]


def set_to_zero() -> GradientTransformationExtraArgs:
    """Replace each update by zero; not Optax's, so that the state of `freeze` is gradtx's alone.

    u = 0
    """
    zero = lambda g, slots, params, h, **extra: (jax.tree.map(jnp.zeros_like, g), slots)
    return transformation("set_to_zero", lambda params: {}, zero, remembers=False)


@checked
def partition(
    transforms: Mapping[Any, optax.GradientTransformation],
    param_labels: Grouping,
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs:
    """Give each group of parameters a transform of its own.

        u[leaf] = transforms[label of leaf](g)[leaf]

    Each transform sees trees that hold `None` for the leaves of the others, so it has no state for
    them; Optax's transforms take this as well as gradtx's. One counter serves all gradtx parts. A
    transform whose label no leaf has does nothing.

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

    The states are kept by label, as text: as a key of a dict another kind of label is none that
    `jax.export` can write.

    Args:
        transforms: label -> the transform of the leaves with this label.
        param_labels: a tree of labels, a prefix of one, or a function from the parameters to one,
            such as `gradtx.label_by(...)`.
        mask_compatible_extra_args: whether an extra argument shaped like `updates` is divided too.

    Raises:
        ValueError: if two labels are one as text; on `init`, if a leaf has a label without a
            transform, or none.
    """
    return partition_as("partition", transforms, param_labels, mask_compatible_extra_args)


multi_transform = alias("multi_transform", partition)


def partition_as(
    name: str,
    transforms: Mapping,
    grouping: Grouping,
    divide_extra: bool = False,
    after: Any = None,
    **hyperparams: Any,
) -> GradientTransformationExtraArgs:
    """`partition` under the name of what is made of it.

    `after` is a transformation of ours without slots that ends it, for all groups together;
    `hyperparams` are those of `after`, as pairs of a value and its interval.
    """
    parts = {
        label: as_transformation(name, f"`transforms[{label!r}]`", tx)
        for label, tx in transforms.items()
    }
    keys = _keys(name, parts)

    def split(tree: PyTree) -> dict[Hashable, PyTree]:
        """What each part sees of `tree`: `None` in the place of the others' leaves."""
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_none)
        labels = treedef.flatten_up_to(labels_of(name, grouping, tree, parts))
        pairs = list(zip(leaves, labels, strict=True))
        mine = lambda part: [x if label == part else None for x, label in pairs]
        return {part: treedef.unflatten(mine(part)) for part in parts}

    def init(params: PyTree) -> dict[Hashable, Any]:
        given = split(params)
        states = {keys[label]: part.init(given[label]) for label, part in parts.items()}
        return {key: without_count(state) for key, state in states.items()}

    def update(updates: PyTree, states: dict, params: PyTree, h: Any, **extra: Any):
        given = updates
        updates = updates if after is None else upcast(updates)
        grads, outs, new = split(updates), [], {}
        ps = dict.fromkeys(parts) if params is None else split(params)
        for label, part in parts.items():
            outs.append(None)
            key = keys[label]
            new[key] = states[key]
            # A tree that is one leaf, and another part's, leaves nothing for this one to do.
            if params is None or ps[label] is not None:
                mine = _extra_of(label, updates, extra, split) if divide_extra else extra
                state = with_count(states[key], h.count)
                outs[-1], state = part.update(grads[label], state, ps[label], **mine)
                new[key] = without_count(state)
        merged = _merge(updates, outs)
        return (merged if after is None else cast_like(finish(merged, params, h), given)), new

    def finish(updates: PyTree, params: PyTree, h: Any) -> PyTree:
        """`updates` after `after`, whose state is made anew of the hyperparameters."""
        own = {key: getattr(h, key) for key in hyperparams}
        return update_after(after, updates, own, params, h.count)

    select = lambda params: tuple(split(params).values())
    check = lambda updates, states: _check_states(name, list(keys.values()), states)
    inner = tuple(transforms.values())
    seen: Any = {"parts": inner, "select": select, "labels": tuple(parts), **hyperparams}
    tx: Any = transformation(name, init, update, check=check, per_group=True, **seen)
    tx.update.structure = replace(tx.update.structure, after=after)
    return tx


def _keys(name: str, parts: Mapping) -> dict[Hashable, str]:
    """Each label as text."""
    keys = {label: str(label) for label in parts}
    if len({*keys.values()}) < len(keys):
        raise ValueError(
            f"{name}: labels must differ as text; got {list(keys)}. Use labels of one type."
        )
    return keys


def _check_states(name: str, labels: list[str], states: Any) -> None:
    if not isinstance(states, dict) or set(states) != set(labels):
        got = list(states) if isinstance(states, dict) else type(states).__name__
        raise ValueError(
            f"{name}.update: `state` must hold a state for each of {labels}; got {got}."
            f" Pass the state that `init` of this same {name} returned."
        )


def _extra_of(label: Hashable, updates: PyTree, extra: Any, split: Any) -> dict[str, Any]:
    """The extra arguments of one part: of those shaped like `updates` what it sees of them."""
    structure = jax.tree.structure(updates)
    like = {key: x for key, x in extra.items() if jax.tree.structure(x) == structure}
    return extra | {key: split(x)[label] for key, x in like.items()}


def _merge(like: PyTree, trees: list[PyTree]) -> PyTree:
    """The tree that has each leaf from the one of `trees` in which it is not `None`."""
    treedef = jax.tree.structure(like, is_leaf=is_none)
    rows = zip(*(treedef.flatten_up_to(tree) for tree in trees), strict=True)
    return treedef.unflatten([next((x for x in row if x is not None), None) for row in rows])


@checked
def masked(
    inner: optax.GradientTransformation, mask: Mask, *, mask_compatible_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """Transform the updates where `mask` is True and leave the others as they are.

        u = inner(g)  where mask else  g

    `inner` has state for the leaves it transforms only.

    >>> import gradtx, jax.numpy as jnp
    >>> tx = masked(gradtx.sgd(1.0), "*kernel")
    >>> params = {"bias": jnp.ones(1), "kernel": jnp.ones(1)}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> float(updates["bias"][0]), float(updates["kernel"][0])
    (1.0, -1.0)

    Args:
        inner: the transform of the leaves where `mask` is True.
        mask: a tree of bools, a prefix of one, a function from the parameters to one, such as
            `gradtx.matching(...)`, or a path pattern. What is a tree of bools is taken for one,
            though it can be called.
        mask_compatible_extra_args: whether an extra argument shaped like `updates` is divided too.

    Raises:
        TypeError: if a leaf of the mask is no bool, or `inner` no gradient transformation.
        ValueError: on `init`, if `mask` is a pattern that no parameter's path matches.
    """
    parts = {True: as_transformation("masked", "`inner`", inner), False: identity()}
    return partition_as("masked", parts, labels_of_mask("masked", mask), mask_compatible_extra_args)


def masked_by(tx: GradientTransformationExtraArgs, mask: Mask | None) -> Any:
    """`tx` where `mask` is True; everywhere, and not wrapped, if it is `True` or `None`."""
    return tx if mask is None or mask is True else masked(tx, mask)


def labels_of_mask(where: str, mask: Mask) -> Grouping:
    """A mask as a grouping, with the labels True and False.

    Raises:
        TypeError: for a leaf that is neither, at once or when the function has made it.
    """
    if isinstance(mask, str):
        return mask_of(where, [mask])
    if not callable(mask):
        return _bools(where, mask)
    return lambda tree: _bools(where, labels_for(where, mask, tree))


def _bools(where: str, mask: PyTree) -> PyTree:
    for path, leaf in jax.tree_util.tree_leaves_with_path(mask):
        if not _is_bool(leaf):
            raise TypeError(
                f"{where}: every leaf of the mask must be True or False; got {leaf!r:.60} at"
                f" {path_name(path)}. Pass a tree of bools, a function that makes one of the"
                " parameters, or a pattern of paths."
            )
    return jax.tree.map(bool, mask)
