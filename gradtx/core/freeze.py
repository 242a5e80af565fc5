"""Parameters that stay as they are."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.groups import labels_of
from gradtx.core.partition import Mask, labels_of_mask, partition_as, set_to_zero
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, is_none
from gradtx.kinds import checked


@checked
def freeze(
    tx_or_mask: Any = None, frozen: Mask | None = None, *, mask: Mask | None = None
) -> GradientTransformationExtraArgs:
    """Keep the parameters where `frozen` is True still, whatever `tx` would do to them.

        u = 0  where frozen else  tx(g)

    Frozen parameters have no state and never move, not by decay either, and a NaN in their
    gradients does no harm. To spare their gradients, too, don't differentiate with respect to them,
    or pass `None`. Called with a mask alone it is `freeze_gradients`, as in Optax.

    >>> import gradtx, jax.numpy as jnp
    >>> tx = freeze(gradtx.adamw(0.1), "body/*")
    >>> params = {"body": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2)}}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> updates["body"]["w"].tolist()
    [0.0, 0.0]

    Args:
        tx_or_mask: the transformation of the parameters that are not frozen.
        frozen: a tree of bools, a prefix of one, a function from the parameters to one, such as
            `gradtx.matching(...)`, or a path pattern.
        mask: Optax's name for a mask that is given alone.

    Raises:
        ValueError: on `init`, if `frozen` is a pattern that no parameter's path matches.
    """
    if frozen is None:
        return freeze_gradients(tx_or_mask if mask is None else mask)
    parts = {False: as_transformation("freeze", "`tx_or_mask`", tx_or_mask), True: set_to_zero()}
    return partition_as("freeze", parts, labels_of_mask("freeze", frozen))


@checked
def freeze_gradients(mask: Mask) -> GradientTransformationExtraArgs:
    """Zero the gradients where `mask` is True; Optax's `freeze`.

        u = 0  where mask else  g

    What comes after it in a chain, such as a decay, does move these parameters: see `freeze`.

    Args:
        mask: as `frozen` of `freeze`.

    Raises:
        ValueError: on `init`, if `mask` is a pattern that no parameter's path matches.
    """
    grouping = labels_of_mask("freeze_gradients", mask)

    def update(updates: PyTree, slots: Any, params: PyTree, h: Any, **extra: Any):
        del params, h, extra
        labels = labels_of("freeze_gradients", grouping, updates, (True, False))
        zero = lambda g, still: g if g is None or not still else jnp.zeros_like(g)
        return jax.tree.map(zero, updates, labels, is_leaf=is_none), slots

    def init(params: PyTree) -> dict[str, Any]:
        labels_of("freeze_gradients", grouping, params, (True, False))
        return {}

    options: dict[str, Any] = {"remembers": False, "counts": False}
    return transformation("freeze_gradients", init, update, **options)


@checked
def selective_transform(
    optimizer: optax.GradientTransformation, *, freeze_mask: Mask
) -> GradientTransformationExtraArgs:
    """`freeze(optimizer, freeze_mask)`, by the name that it has in Optax.

        u = 0  where freeze_mask else  optimizer(g)

    Args:
        optimizer: the transformation of the parameters that are not frozen.
        freeze_mask: as `frozen` of `freeze`.

    Raises:
        TypeError: if `optimizer` is no gradient transformation or `freeze_mask` is no mask.
    """
    if freeze_mask is None:
        raise TypeError(
            "selective_transform: `freeze_mask` must be a tree of bools, a function that makes one"
            ' of the parameters, or a pattern; got None. Pass for example "body/*".'
        )
    return freeze(optimizer, freeze_mask)
