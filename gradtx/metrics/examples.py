"""What metrics read of a batch: the labels, and what each example counts for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import PyTree
from gradtx.loop.calling import LABEL
from gradtx.loop.form import entry, spec
from gradtx.loop.metric import Metric
from gradtx.loop.weights import as_weights, weight_of

Add = Callable[[PyTree, jax.Array, jax.Array, jax.Array], PyTree]


def labelled(
    where: str,
    init: Callable[[], PyTree],
    add: Add,
    compute: Callable[[PyTree], Any],
    label: str | int | None,
) -> Metric:
    """A metric of predictions and labels.

        update(state, pred, batch, weight) = add(state, pred, batch[label], weight)

    Args:
        where: the metric, for messages.
        init: the state before any batch.
        add: the state after one; what examples of weight 0 hold may be anything.
        compute: the value.
        label: the name of the labels, or their place in a tuple; None: the loop's, or "label".
    """
    own = label

    def update(state: PyTree, pred: Any, batch: Any, weight: Any = None, *, label: Any = None):
        name = own if own is not None else "label" if label is None else label
        pred = as_array(where, "pred", pred, "Select what the model predicts with `.at(...)`")
        target = as_array(where, "label", entry(where, batch, name, LABEL, place=1), LABEL)
        if not pred.ndim or not target.ndim or len(pred) != len(target):
            raise ValueError(
                f"{where}: there must be a prediction and a label for each example; got"
                f" {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}. Select"
                " what the model predicts with `.at(...)`."
            )
        weight = weight_of(batch, len(target)) if weight is None else weight
        return add(state, pred, target, as_weights(weight, len(target)))

    return Metric(init, update, compute)


def as_array(where: str, name: str, x: Any, do: str) -> jax.Array:
    """`x` as an array of JAX.

    Args:
        where: the metric, for the message.
        name: what it is.
        x: an array, a number or a list of these.
        do: what to do.

    Raises:
        TypeError: if it is something else, such as a dict.
    """
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: `{name}` must be an array; got {spec(x)}. {do}.") from None


def zeros(*shapes: tuple[int, ...]) -> list[jax.Array]:
    """float32 zeros of these shapes.

    Args:
        shapes: one for each.
    """
    return [jnp.zeros(shape, jnp.float32) for shape in shapes]


def ratio(part: jax.Array, whole: jax.Array, empty: float = jnp.nan) -> jax.Array:
    """`part / whole`, and `empty` where `whole` is 0.

    Args:
        part: float32[...].
        whole: float32[...].
        empty: the value of nothing out of nothing.
    """
    there = whole != 0
    return jnp.where(there, part / jnp.where(there, whole, 1), empty)
