"""Predictions and labels as classes."""

import jax
import jax.numpy as jnp


def as_classes(
    where: str, pred: jax.Array, target: jax.Array, classes: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """The class that is predicted and the one that is right: int32[B, ...] both.

        predicted = argmax_c pred          pred of scores, [B, ..., C]
                    pred > 0               pred of logits of class 1, [B, ...]; two classes
                    pred                   pred of classes, int[B, ...]

    -1 where there is none: for a NaN among the scores, or a label outside 0..C-1. A label may be a
    class, or float[B, ..., C], whose largest entry counts; of two classes also 0.0 or 1.0.

    Args:
        where: the metric, for messages.
        pred: the predictions.
        target: the labels.
        classes: C; None: as many as `pred` has, else 2.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    scores, soft = (jnp.issubdtype(x.dtype, jnp.floating) for x in (pred, target))
    count = pred.shape[-1] if classes is None and scores and pred.ndim > 1 else classes or 2
    count = max(count, 2)  # one score is that of a yes
    last = pred.ndim > 1 and pred.shape[-1] == count
    if scores and last and pred.shape in (target.shape if soft else (), (*target.shape, count)):
        predicted = _largest(pred)
    elif pred.shape == target.shape and (not scores or (classes in (None, 2) and not last)):
        predicted = jnp.where(jnp.isnan(pred), -1, (pred > 0).astype(jnp.int32)) if scores else pred
    else:
        raise _error(where, pred, target, count)
    actual = target
    if soft and target.shape == pred.shape and scores and last:
        actual = _largest(target)
    elif soft and count == 2:
        actual = jnp.where(jnp.isnan(target), -1, (target > 0.5).astype(jnp.int32))
    elif soft:
        raise _error(where, pred, target, count)
    actual = actual.astype(jnp.int32)
    known = (actual >= 0) & (actual < (count if scores or classes else 2**31 - 1))
    return predicted.astype(jnp.int32), jnp.where(known, actual, -1)


def _largest(x: jax.Array) -> jax.Array:
    return jnp.where(jnp.isnan(x).any(axis=-1), -1, jnp.argmax(x, axis=-1))


def _error(where: str, pred: jax.Array, target: jax.Array, count: int) -> ValueError:
    binary = ", or with two classes both [B]" if count == 2 else ""
    do = "Say how many `classes` there are, or select what the model predicts with `.at(...)`"
    if pred.ndim > 1 and pred.shape[-1] == 1:
        do = "Select the only score with `.at(lambda pred: pred[..., 0])`"
    return ValueError(
        f"{where}: `pred` must be float[B, ..., {count}] and the label int[B, ...] or like `pred`"
        f"{binary}; got {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}."
        f" {do}."
    )


def spread(weight: jax.Array, like: jax.Array) -> jax.Array:
    """float32[B, ...]: the weight of an example for each of its places.

    Args:
        weight: float32[B].
        like: an array [B, ...].
    """
    return jnp.broadcast_to(weight.reshape(-1, *[1] * (like.ndim - 1)), like.shape)
