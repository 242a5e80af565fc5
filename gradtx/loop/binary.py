"""Binary cross-entropy, for examples that have any number of labels."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import checked
from gradtx.loop.calling import LABEL
from gradtx.loop.form import entry
from gradtx.loop.losses import check_smoothing, idle_to_zero, without_idle
from gradtx.loop.weights import weight_of


@checked
def binary_cross_entropy(
    pred: jax.Array,
    batch: Any,
    *,
    label: str | int = "label",
    label_smoothing: float = 0.0,
    pos_weight: Any = None,
) -> jax.Array:
    """Cross-entropy of logits that each stand for a yes or no, the mean over those of an example.

        loss = mean_c -(w_c q_c log sigmoid(pred_c) + (1 - q_c) log sigmoid(-pred_c))
        q    = (1 - s) p + s / 2                 s = label_smoothing

    Returns float32[B] (float64 for float64 logits) whatever the dtype of `pred`. A term with the
    factor 0 is 0, also for a logit that is infinite. A label outside [0, 1] gives NaN. An example
    of weight 0 has the loss 0 and no gradient.

    >>> loss = binary_cross_entropy(jnp.zeros((1, 3)), {"label": jnp.array([[1, 0, 1]])})
    >>> bool(jnp.allclose(loss, jnp.log(2.0)))
    True

    Args:
        pred: float[B, ...], logits.
        batch: as for `cross_entropy`.
        label: as for `cross_entropy`; `batch[label]` has the shape of `pred`: 0 and 1 of any
            dtype, or probabilities p.
        label_smoothing: s, in [0, 1).
        pos_weight: w, a number or float[C], by which a yes counts more; None: 1.

    Raises:
        ValueError: if `label_smoothing` is outside [0, 1), or shapes are others.

    Source: PyTorch's `BCEWithLogitsLoss`.
    """
    where = "binary_cross_entropy"
    check_smoothing(where, label_smoothing)
    target = jnp.asarray(entry(where, batch, label, LABEL, place=1))
    if not pred.ndim or pred.shape != target.shape or not jnp.issubdtype(pred.dtype, jnp.floating):
        raise ValueError(
            f"{where}: `pred` must be float[B, ...] and the label of the same shape; got"
            f" {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}. Select what"
            " the model predicts, or give each class an entry of the label."
        )
    weight = weight_of(batch, len(pred))
    logits = without_idle(pred, weight)
    p = target.astype(logits.dtype)
    q = (1 - label_smoothing) * p + label_smoothing / 2
    yes = q
    if pos_weight is not None:
        w = jnp.asarray(pos_weight, logits.dtype)
        if w.shape not in ((), pred.shape[1:]):
            raise ValueError(
                f"{where}: `pos_weight` must be one number, or one for each of {pred.shape[1:]};"
                f" got shape {w.shape}. Pass as many as an example has logits."
            )
        yes = jnp.broadcast_to(w, pred.shape[1:])[None] * q
    term = lambda q, x: q * jnp.where(q == 0, 0, jax.nn.log_sigmoid(x))
    losses = -(term(yes, logits) + term(1 - q, -logits))
    losses = jnp.where((p >= 0) & (p <= 1), losses, jnp.nan)
    return idle_to_zero(losses.reshape(len(losses), -1).mean(axis=1), weight)
