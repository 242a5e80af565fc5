"""The loss and the metric of classification, one value for each example."""

from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.tree import compute_dtype
from gradtx.kinds import checked, is_array
from gradtx.loop.calling import LABEL
from gradtx.loop.form import entry, spec
from gradtx.loop.weights import weight_of


@checked
def cross_entropy(
    pred: jax.Array,
    batch: Any,
    *,
    label: str | int = "label",
    label_smoothing: float = 0.0,
    class_weights: Any = None,
) -> Any:
    """Cross-entropy of logits, after smoothing the labels.

        loss = -sum_c q_c log softmax(pred)_c
        q    = (1 - s) p + s / C                 s = label_smoothing

    Returns float32[B] (float64 for float64 logits) whatever the dtype of `pred`. Where q_c = 0 the
    term is 0, also for a logit of -inf; with smoothing no q_c is 0, and such a logit makes the loss
    infinite. A class outside 0..C-1 gives NaN. An example of weight 0 has the loss 0, and so no
    gradient, whatever its logits are. Bind the smoothing with `functools.partial`.

    With class weights w the terms are w_c q_c log softmax(pred)_c. For labels that are classes the
    mean over examples is PyTorch's, weighted:

        sum_i weight_i loss_i / sum_i weight_i w[label_i]

    and the function returns the pair (loss, w[label]) that `Loop` makes it of. For labels that are
    probabilities the mean is that without class weights, as PyTorch's is too.

    >>> loss = cross_entropy(jnp.zeros((1, 4)), {"label": jnp.array([2])})
    >>> bool(jnp.allclose(loss, jnp.log(4.0)))
    True

    Args:
        pred: float[B, C], logits.
        batch: a dict with the labels and, where there are weights, "weight", float[B]; or a tuple
            (inputs, labels).
        label: their name, or their place in a tuple; `batch[label]` is int[B], classes,
            or float[B, C], probabilities p.
        label_smoothing: s, in [0, 1).
        class_weights: w, float[C], not negative; None: 1.

    Raises:
        TypeError: if the prediction or the label is no array.
        ValueError: if `label_smoothing` is outside [0, 1), or shapes or dtypes are others.

    Source: smoothing from Szegedy et al. (2016), section 7; class weights from PyTorch's
    `CrossEntropyLoss`.
    """
    check_smoothing("cross_entropy", label_smoothing)
    target = entry("cross_entropy", batch, label, LABEL, place=1)
    check_classes("cross_entropy", pred, target)
    weight = weight_of(batch, len(pred))
    log_p = jax.nn.log_softmax(without_idle(pred, weight))
    if class_weights is not None:
        w = as_class_weights("cross_entropy", class_weights, log_p)
        sums, counts = _weighted(log_p, target, label_smoothing, w)
        return (
            idle_to_zero(sums, weight) if counts is None else (idle_to_zero(sums, weight), counts)
        )
    if target.ndim == 2:
        p = target.astype(log_p.dtype)
        chosen = jnp.sum(p * jnp.where(p == 0, 0, log_p), axis=-1)
    else:
        known = (target >= 0) & (target < pred.shape[-1])
        index = jnp.where(known, target, 0)[:, None]
        chosen = jnp.take_along_axis(log_p, index, axis=-1)[:, 0]
        chosen = jnp.where(known, chosen, jnp.nan)
    loss = -chosen
    if label_smoothing:
        loss = -((1 - label_smoothing) * chosen + label_smoothing * jnp.mean(log_p, axis=-1))
    return idle_to_zero(loss, weight)


def _weighted(
    log_p: jax.Array, target: jax.Array, smoothing: float, w: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """The losses with class weights and, for labels that are classes, their weights."""
    count = log_p.shape[-1]
    p = target.astype(log_p.dtype) if target.ndim == 2 else jax.nn.one_hot(target, count)
    q = w[None] * ((1 - smoothing) * p.astype(log_p.dtype) + smoothing / count)
    loss = -jnp.sum(q * jnp.where(q == 0, 0, log_p), axis=-1)
    if target.ndim == 2:
        return loss, None
    known = (target >= 0) & (target < count)
    return jnp.where(known, loss, jnp.nan), w[jnp.where(known, target, 0)]


def check_smoothing(where: str, smoothing: float) -> None:
    """Require a share below 1.

    Args:
        where: the loss, for the message.
        smoothing: `label_smoothing`.

    Raises:
        ValueError: if it is outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(
            f"{where}: `label_smoothing` must be in [0, 1); got {smoothing}. Choose a"
            " share such as 0.1."
        )


def as_class_weights(where: str, weights: Any, log_p: jax.Array) -> jax.Array:
    """One number for each class, of the dtype of `log_p`.

    Args:
        where: the loss, for the message.
        weights: as they were given.
        log_p: float[B, C].

    Raises:
        ValueError: if there are more or fewer, or one is negative.
    """
    w = jnp.asarray(weights, log_p.dtype)
    if w.shape != log_p.shape[-1:]:
        raise ValueError(
            f"{where}: there must be a weight for each of the {log_p.shape[-1]} classes; got shape"
            f" {w.shape}. Pass as many numbers as there are logits."
        )
    with suppress(jax.errors.TracerArrayConversionError):  # of a traced weight nothing is known
        if (least := np.asarray(weights, np.float64).min()) < 0:
            raise ValueError(
                f"{where}: no weight of a class may be negative; got {least}. Pass 0 for a class"
                " that is to count for nothing."
            )
    return w


def without_idle(pred: jax.Array, weight: jax.Array | None) -> jax.Array:
    """Logits in the dtype that losses are computed in, 0 for examples of weight 0.

    So they are 0 before the logarithm, for the derivative's sake.

    Args:
        pred: float[B, ...].
        weight: as `weight_of` returns it.
    """
    logits = pred.astype(compute_dtype(pred))
    if weight is None:
        return logits
    counts = jnp.expand_dims(weight != 0, range(1, pred.ndim))
    return jnp.where(counts, logits, 0)


def idle_to_zero(loss: jax.Array, weight: jax.Array | None) -> jax.Array:
    """The losses, 0 for examples of weight 0.

    Args:
        loss: float[B].
        weight: as `weight_of` returns it.
    """
    return loss if weight is None else jnp.where(weight != 0, loss, 0)


@checked
def accuracy(pred: jax.Array, batch: Any, *, label: str | int = "label") -> jax.Array:
    """1 where the largest logit is that of the label, else 0: float32[B].

        accuracy = (argmax_c pred == label)

    A row with a NaN, among its logits or its label's probabilities, has no largest one, and is
    wrong.

    Args:
        pred: float[B, C], logits.
        batch: a dict with the labels, or a tuple (inputs, labels).
        label: their name, or their place in a tuple; `batch[label]` is int[B], or float[B, C]
            whose largest entry counts.

    Raises:
        TypeError: if one of them is no array.
        ValueError: if shapes or dtypes are others.
    """
    target = entry("accuracy", batch, label, LABEL, place=1)
    check_classes("accuracy", pred, target)
    certain = ~jnp.any(jnp.isnan(pred), axis=-1)
    if target.ndim == 2:
        certain = certain & ~jnp.any(jnp.isnan(target), axis=-1)
        target = jnp.argmax(target, axis=-1)
    return (certain & (jnp.argmax(pred, axis=-1) == target)).astype(jnp.float32)


def check_classes(where: str, pred: Any, target: Any) -> None:
    """Require logits, and labels that are classes or probabilities.

    Args:
        where: the loss or the metric, for the message.
        pred: float[B, C].
        target: int[B] or float[B, C].

    Raises:
        TypeError: if one of them is no array.
        ValueError: if shapes or dtypes are others.
    """
    if not (is_array(pred) and is_array(target)):
        raise TypeError(
            f"{where}: `pred` and the label must be arrays; got {spec(pred)} and {spec(target)}."
            " Select what the model predicts, or make arrays where the batches are made."
        )
    classes = jnp.issubdtype(target.dtype, jnp.integer) and target.shape == pred.shape[:-1]
    shares = jnp.issubdtype(target.dtype, jnp.floating) and target.shape == pred.shape
    if pred.ndim == 2 and pred.shape[1] == 1:
        raise ValueError(
            f"{where}: `pred` must have at least two classes; got {pred.dtype}{list(pred.shape)}."
            " Of one logit, for a yes or no, take binary_cross_entropy and gradtx.metrics, with"
            " labels of its shape."
        )
    if pred.ndim != 2 or not (classes or shares):
        raise ValueError(
            f"{where}: `pred` must be float[B, C] and the label int[B] or float[B, C]; got"
            f" {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}. Select what"
            " the model predicts, or cast the labels."
        )
