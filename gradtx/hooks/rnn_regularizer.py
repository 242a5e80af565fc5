"""Penalties on the activations of a recurrent model."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import checked
from gradtx.loop import Hook, StepContext
from gradtx.loop.weights import weight_of


@checked
def rnn_regularizer(alpha: float = 2.0, beta: float = 1.0) -> Hook:
    """Penalize large activations (AR) and their change over time (TAR).

        objective' = objective + alpha mean(dropped^2)
                               + beta mean((raw[:, 1:] - raw[:, :-1])^2)

    `pred.raw` and `pred.dropped`, float[batch, time, features], are the last layer's outputs before
    and after dropout. Means are taken in float32, over the rows whose weight is not 0. With one
    time step there is no change, and no second term. In training only, and only in what is
    differentiated: the recorded loss stays free of it.

    Args:
        alpha: weight of the activations, not negative.
        beta: weight of their change, not negative.

    Raises:
        ValueError: if `alpha` or `beta` is negative; on tracing, if the prediction has no such
            entries or they have other than three axes.

    Source: Merity, McCann and Socher (2017), "Revisiting Activation Regularization for Language
    RNNs", section 3.
    """
    for name, value in (("alpha", alpha), ("beta", beta)):
        if value < 0:
            raise ValueError(
                f"rnn_regularizer: `{name}` must not be negative; got {value}. Pass 0 to leave the"
                " term out."
            )

    def after_loss(state: tuple, context: StepContext):
        if not context.training:
            return state, context
        raw, dropped = _outputs(context.pred)
        weight = weight_of(context.batch, len(raw))
        penalty = jnp.zeros((), jnp.float32)
        if alpha:
            penalty += alpha * _mean_square(dropped, weight)
        if beta and raw.shape[1] > 1:
            penalty += beta * _mean_square(raw[:, 1:] - raw[:, :-1], weight)
        return state, context.replace(objective=context.objective + penalty)

    return Hook("rnn_regularizer", {"after_loss": after_loss}, requests=False)


def _mean_square(x: jax.Array, weight: jax.Array | None) -> jax.Array:
    """The mean over the rows that count at all, each as much as another."""
    if weight is None:
        return jnp.mean(jnp.square(x))
    counts = weight != 0
    # The rows are put to 0 before the square: its derivative at a NaN would be NaN.
    total = jnp.sum(jnp.square(jnp.where(counts[:, None, None], x, 0)))
    return total / jnp.maximum(jnp.sum(counts) * x[0].size, 1).astype(x.dtype)


def _outputs(pred: Any) -> tuple[jax.Array, jax.Array]:
    outputs = []
    for name in ("raw", "dropped"):
        value = getattr(pred, name, None)
        if value is None or value.ndim != 3:
            got = type(pred).__name__ if value is None else f"shape {value.shape}"
            raise ValueError(
                f"rnn_regularizer: the prediction must have `{name}`, float[batch, time, features];"
                f" got {got}. Return it from the model, as gradtx.models.rnn does."
            )
        outputs.append(value.astype(jnp.float32))
    return outputs[0], outputs[1]
