"""The focal loss, for classes of which most examples are easy."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import NonNegative, checked
from gradtx.loop.calling import LABEL
from gradtx.loop.form import entry
from gradtx.loop.losses import as_class_weights, check_classes, idle_to_zero, without_idle
from gradtx.loop.weights import weight_of


@checked
def focal_loss(
    pred: jax.Array,
    batch: Any,
    *,
    label: str | int = "label",
    gamma: NonNegative = 2.0,
    class_weights: Any = None,
) -> jax.Array:
    """Cross-entropy in which an example counts the less, the surer the model is of its class.

        loss = -sum_c w_c q_c (1 - p_c)^gamma log p_c        p = softmax(pred)

    with q the labels' probabilities, for a class 1 and 0. With gamma=0 and without class weights it
    is `cross_entropy`. Returns float32[B] (float64 for float64 logits). Where w_c q_c = 0 the term
    is 0, also for a logit of -inf. A class outside 0..C-1 gives NaN; an example of weight 0 has the
    loss 0 and no gradient. For labels of which any number holds there is
    `gradtx.losses.sigmoid_focal_loss`, which the loop takes as it is.

    >>> loss = focal_loss(jnp.zeros((1, 2)), {"label": jnp.array([1])}, gamma=1.0)
    >>> bool(jnp.allclose(loss, 0.5 * jnp.log(2.0)))
    True

    Args:
        pred: float[B, C], logits.
        batch: as for `cross_entropy`.
        label: as for `cross_entropy`.
        gamma: how much less, not negative.
        class_weights: w, float[C], the paper's alpha; None: 1. The mean over examples is not
            divided by them.

    Raises:
        ValueError: if `gamma` is negative, or shapes or dtypes are others.

    Source: Lin et al. (2017), "Focal Loss for Dense Object Detection", equation 5.
    """
    target = entry("focal_loss", batch, label, LABEL, place=1)
    check_classes("focal_loss", pred, target)
    weight = weight_of(batch, len(pred))
    log_p = jax.nn.log_softmax(without_idle(pred, weight))
    q = target if target.ndim == 2 else jax.nn.one_hot(target, pred.shape[-1])
    q = q.astype(log_p.dtype)
    if class_weights is not None:
        q = as_class_weights("focal_loss", class_weights, log_p)[None] * q
    log_p = jnp.where(q == 0, 0, log_p)
    doubt = -jnp.expm1(log_p)  # 1 - p, without loss of digits where p is nearly 1
    unsure = doubt > 0  # the power's derivative at 0 is infinite for gamma below 1
    scale = jnp.where(unsure, jnp.where(unsure, doubt, 1) ** gamma, float(gamma == 0))
    loss = -jnp.sum(q * scale * log_p, axis=-1)
    if target.ndim == 1:
        loss = jnp.where((target >= 0) & (target < pred.shape[-1]), loss, jnp.nan)
    return idle_to_zero(loss, weight)
