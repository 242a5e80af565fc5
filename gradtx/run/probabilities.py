"""What a trained classifier says of images: the probabilities of the classes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.tree import compute_dtype
from gradtx.kinds import checked


@checked
def predictor(
    apply: Callable[..., Any],
    params: Any,
    model_state: Any,
    *,
    prepare: Callable[[Any, Any], Any] | None = None,
) -> Callable[[Mapping[str, Any]], jax.Array]:
    """Return a compiled function of a batch to the model's probabilities, float[B, C].

        p = softmax(apply(params, model_state, prepare(batch, None), training=False))

    In float32, or float64 for float64 logits.

    Args:
        apply: as `Loop` takes it, of a classifier.
        params: the trained parameters.
        model_state: what the model keeps beside them.
        prepare: as `Loop` takes it; None: batches are taken as they come.
    """

    @jax.jit
    def probabilities(params: Any, model_state: Any, batch: Any) -> jax.Array:
        batch = batch if prepare is None else prepare(batch, None)
        key = jax.random.key(0)  # nothing is random outside training
        logits, _ = apply(params, model_state, batch, key=key, training=False)
        return jax.nn.softmax(logits.astype(compute_dtype(logits)), axis=-1)

    return lambda batch: probabilities(params, model_state, dict(batch))


def top(probabilities: np.ndarray, classes: Sequence[Any], count: int) -> list[tuple[str, float]]:
    """The most probable classes of one image, the most probable first.

    >>> top(np.array([0.2, 0.7, 0.1]), ["cat", "dog", "eel"], 2)
    [('dog', 0.7), ('cat', 0.2)]

    Args:
        probabilities: of each class, float[C].
        classes: their names.
        count: how many to return, at most.

    Raises:
        ValueError: if `count` is not positive, or a probability is NaN.
    """
    if count < 1:
        raise ValueError(f"top: `count` must be positive; got {count}. Pass 1 or more.")
    if np.isnan(probabilities).any():
        raise ValueError(
            "top: `probabilities` must be numbers; got NaN, which is no class's. The model has"
            " diverged: use parameters from before."
        )
    order = np.argsort(-np.asarray(probabilities), kind="stable")[:count]
    return [(classes[i], float(probabilities[i])) for i in order]


@checked
def predict_images(
    apply: Callable[..., Any],
    params: Any,
    model_state: Any,
    images: np.ndarray | Mapping[str, np.ndarray],
    *,
    batch_size: int = 32,
    prepare: Callable[[Any, Any], Any] | None = None,
) -> np.ndarray:
    """The probabilities of any number of images, float32[n, C], some at a time.

    The last batch is filled up with copies of its last image, so one program serves all.

    Args:
        apply: as `Loop` takes it, of a classifier.
        params: the trained parameters.
        model_state: what the model keeps beside them.
        images: images as the model takes them, [n, H, W, C]; or a batch, as `prepare` does.
        batch_size: how many at a time.
        prepare: as `Loop` takes it; None: images are taken as they come.
    """
    rows = images if isinstance(images, Mapping) else {"image": images}
    predict = predictor(apply, params, model_state, prepare=prepare)
    count = len(rows["image"])
    size = min(batch_size, count)
    found = []
    for start in range(0, count, size):
        chosen = np.minimum(np.arange(start, start + size), count - 1)
        batch = {name: jnp.asarray(x[chosen]) for name, x in rows.items()}
        found.append(np.asarray(predict(batch), np.float32))
    return np.concatenate(found)[:count]
