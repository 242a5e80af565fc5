"""Training on mixtures of two examples."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.loop import Hook, StepContext


def mixup(alpha: float = 0.4, *, classes: int, inputs: str = "image", label: str = "label") -> Hook:
    """Mix every training example with another of its batch, and their labels alike.

        x' = l x + (1 - l) x[other]        y' = l y + (1 - l) y[other]
        l = max(b, 1 - b), b ~ Beta(alpha, alpha) for each example        other: a permutation

    The loss must take probabilities, as `cross_entropy` does. An example of weight 0, which only
    fills up a batch, is mixed into none.

    Args:
        alpha: of the Beta distribution, positive; larger means more mixing.
        classes: their number.
        inputs: the batch's entry of examples, float[B, ...].
        label: its entry of labels: int[B], which becomes float32[B, classes], or float[B, classes].

    Raises:
        ValueError: if `alpha` is not positive; on tracing, if the inputs are not floating.

    Source: Zhang et al. (2018), "mixup"; l for each example and at least 1/2 is fastai's.
    """
    if not alpha > 0:
        raise ValueError(
            f"mixup: `alpha` must be positive; got {alpha}. Leave the hook out for no mixing."
        )

    def before_batch(state: tuple, context: StepContext):
        if not context.training:
            return state, context
        return state, context.replace(batch=mix(context.batch, context.key))

    def mix(batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        x, y = batch[inputs], batch[label]
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"mixup: batch[{inputs!r}] must be floating; got {x.dtype}. Scale the images before"
                " the loop, or in a hook that runs before this one."
            )
        y = y if y.ndim == 2 else jax.nn.one_hot(y, classes, dtype=jnp.float32)
        to_other, to_share = jax.random.split(key)
        other = jax.random.permutation(to_other, len(x))
        share = jax.random.beta(to_share, alpha, alpha, (len(x),), jnp.float32)
        share = jnp.maximum(share, 1 - share)
        if "weight" in batch:
            share = jnp.where(batch["weight"][other] > 0, share, 1)
        return batch | {inputs: _lerp(x, other, share), label: _lerp(y, other, share)}

    return Hook("mixup", {"before_batch": before_batch})


def _lerp(x: jax.Array, other: jax.Array, share: jax.Array) -> jax.Array:
    share = jnp.expand_dims(share, range(1, x.ndim)).astype(x.dtype)
    return share * x + (1 - share) * x[other]
