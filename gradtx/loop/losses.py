"""The loss and the metric of classification, one value for each example."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import compute_dtype
from gradtx.kinds import checked
from gradtx.loop.calling import LABEL
from gradtx.loop.form import entry
from gradtx.loop.weights import weight_of


@checked
def cross_entropy(
    pred: jax.Array, batch: Any, *, label: str | int = "label", label_smoothing: float = 0.0
) -> jax.Array:
    """Cross-entropy of logits, after smoothing the labels.

        loss = -sum_c q_c log softmax(pred)_c
        q    = (1 - s) p + s / C                 s = label_smoothing

    Returns float32[B] (float64 for float64 logits) whatever the dtype of `pred`. Where q_c = 0 the
    term is 0, also for a logit of -inf; with smoothing no q_c is 0, and such a logit makes the loss
    infinite. A class outside 0..C-1 gives NaN. An example of weight 0 has the loss 0, and so no
    gradient, whatever its logits are. Bind the smoothing with `functools.partial`.

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

    Raises:
        ValueError: if `label_smoothing` is outside [0, 1), or shapes or dtypes are others.

    Source: smoothing from Szegedy et al. (2016), section 7.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"cross_entropy: `label_smoothing` must be in [0, 1); got {label_smoothing}. Choose a"
            " share such as 0.1."
        )
    target = entry("cross_entropy", batch, label, LABEL, place=1)
    _check("cross_entropy", pred, target)
    weight = weight_of(batch, len(pred))
    logits = pred.astype(compute_dtype(pred))
    if weight is not None:  # before the logarithm, for the derivative's sake
        logits = jnp.where(weight[:, None] != 0, logits, 0)
    log_p = jax.nn.log_softmax(logits)
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
        ValueError: if shapes or dtypes are others.
    """
    target = entry("accuracy", batch, label, LABEL, place=1)
    _check("accuracy", pred, target)
    certain = ~jnp.any(jnp.isnan(pred), axis=-1)
    if target.ndim == 2:
        certain = certain & ~jnp.any(jnp.isnan(target), axis=-1)
        target = jnp.argmax(target, axis=-1)
    return (certain & (jnp.argmax(pred, axis=-1) == target)).astype(jnp.float32)


def _check(where: str, pred: jax.Array, target: jax.Array) -> None:
    classes = jnp.issubdtype(target.dtype, jnp.integer) and target.shape == pred.shape[:-1]
    shares = jnp.issubdtype(target.dtype, jnp.floating) and target.shape == pred.shape
    if pred.ndim != 2 or not (classes or shares):
        raise ValueError(
            f"{where}: `pred` must be float[B, C] and the label int[B] or float[B, C]; got"
            f" {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}. Select what"
            " the model predicts, or cast the labels."
        )
