"""How many words a language model hesitates between."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import checked
from gradtx.loop.metric import Mean, Metric, add_values, mean_value, no_mean
from gradtx.metrics.classes import spread
from gradtx.metrics.examples import labelled


@checked
def perplexity(*, ignore: int | None = None, label: str | int | None = None) -> Metric:
    """The exponential of the mean cross-entropy of a word.

        value = exp(-sum(weight log softmax(pred)[label]) / sum(weight))

    over all words of all sequences whose label is not `ignore`.

    >>> metric, batch = perplexity(ignore=-1), {"label": jnp.array([[0, 3, -1]])}
    >>> state = metric.update(metric.init(), jnp.zeros((1, 3, 4)), batch)
    >>> round(float(metric.compute(state)), 4)
    4.0

    Args:
        ignore: the label of what is no word, such as padding; None: there is none. Another label
            outside 0..C-1 makes the value NaN.
        label: the name of the labels, or their place in a tuple; None: the loop's, or "label".
            They are int[B, ...] for logits float[B, ..., C].

    Raises:
        ValueError: in training, if shapes or dtypes are others.
    """
    return labelled("perplexity", no_mean, partial(_add, ignore), _exp, label)


def _exp(state: Mean) -> jax.Array:
    return jnp.exp(mean_value(state))


def _add(ignore: int | None, state: Mean, pred: Any, target: Any, weight: jax.Array) -> Mean:
    whole = jnp.issubdtype(target.dtype, jnp.integer)
    if not whole or pred.ndim < 2 or pred.shape[:-1] != target.shape:
        raise ValueError(
            "perplexity: `pred` must be float[B, ..., C] and the label int[B, ...]; got"
            f" {pred.dtype}{list(pred.shape)} and {target.dtype}{list(target.shape)}. Select what"
            " the model predicts with `.at(...)`."
        )
    known = (target >= 0) & (target < pred.shape[-1])
    log_p = jax.nn.log_softmax(pred.astype(jnp.float32))
    own = jnp.take_along_axis(log_p, jnp.where(known, target, 0)[..., None], axis=-1)[..., 0]
    losses = jnp.where(known, -own, jnp.nan)
    weight = spread(weight, losses)
    if ignore is not None:
        weight = jnp.where(target == ignore, 0, weight)
    return add_values(state, losses.reshape(-1), None, weight.reshape(-1))
