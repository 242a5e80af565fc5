"""What a trained classifier says of images: the probabilities of the classes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.tree import compute_dtype
from gradtx.kinds import Count, Fraction, Natural, Whole, checked

BETA = 0.25  # the share of the plain image, as in fastai


@checked
def predictor(
    apply: Callable[..., Any],
    params: Any,
    model_state: Any,
    *,
    prepare: Callable[[Any, Any], Any] | None = None,
    tta: Natural = 0,
    beta: Fraction = BETA,
    seed: Whole = 0,
) -> Callable[[Mapping[str, Any]], jax.Array]:
    """Return a compiled function of a batch to the model's probabilities, float[B, C].

        p = softmax(apply(params, model_state, prepare(batch, None), training=False))

    In float32, or float64 for float64 logits. With `tta`, test-time augmentation, the probabilities
    of n augmented copies are averaged, and then mixed with those:

        p' = beta p + (1 - beta) / n sum_i softmax(apply(..., prepare(batch, fold_in(key, i))))

    Equal seeds give equal probabilities; of a batch with an entry "id" those of an example do not
    depend on the rest of the batch.

    Args:
        apply: as `Loop` takes it, of a classifier.
        params: the trained parameters.
        model_state: what the model keeps beside them.
        prepare: as `Loop` takes it; None: batches are taken as they come. With `tta` it is that of
            training, but for `mixup` and `cutmix`, which need labels.
        tta: n, how many augmented copies; 0: none.
        beta: the share of the plain image in [0, 1]; fastai's default.
        seed: of the random numbers of `prepare`.

    Raises:
        ValueError: with `tta` and without `prepare`, which makes the copies.

    Source: the mix of both is that of fastai's `Learner.tta`.
    """
    if tta and prepare is None:
        raise ValueError(
            f"predictor: `tta` needs `prepare`, which makes the augmented copies; got tta={tta}"
            " alone. Pass an augmentation, such as gradtx.augment.flip()."
        )

    @jax.jit
    def probabilities(params: Any, model_state: Any, batch: Any) -> jax.Array:
        def of(key: Any) -> jax.Array:
            ready = batch if prepare is None else prepare(batch, key)
            unused = jax.random.key(0)  # nothing is random in the model outside training
            logits, _ = apply(params, model_state, ready, key=unused, training=False)
            return jax.nn.softmax(logits.astype(compute_dtype(logits)), axis=-1)

        plain = of(None)
        if not tta:
            return plain
        key = jax.random.key(seed)
        add = lambda i, total: total + of(jax.random.fold_in(key, i))
        mean = jax.lax.fori_loop(0, tta, add, jnp.zeros_like(plain)) / tta
        return with_copies(plain, mean, beta)

    return lambda batch: probabilities(params, model_state, dict(batch))


def with_copies(plain: Any, copies: Any, beta: float = BETA) -> Any:
    """The probabilities of images and of their augmented copies, as one.

        p = beta plain + (1 - beta) copies

    Args:
        plain: float[n, C], of the images.
        copies: float[n, C], the mean over the copies of each.
        beta: the share of the plain images.
    """
    return beta * plain + (1 - beta) * copies


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
    batch_size: Count = 32,
    prepare: Callable[[Any, Any], Any] | None = None,
    tta: Natural = 0,
    beta: Fraction = BETA,
    seed: Whole = 0,
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
        tta: how many augmented copies of each image are averaged: see `predictor`. Whatever the
            batch size, they are the same.
        beta: the share of the plain image then.
        seed: of the copies.

    Raises:
        ValueError: with `tta` and without `prepare`; if there are no images.
    """
    rows = dict(images) if isinstance(images, Mapping) else {"image": images}
    how: Any = {"prepare": prepare, "tta": tta, "beta": beta, "seed": seed}
    predict = predictor(apply, params, model_state, **how)
    count = len(rows["image"])
    if not count:
        raise ValueError("predict_images: `images` must have one at least; got none. Pass some.")
    if tta:
        rows.setdefault("id", np.arange(count, dtype=np.int32))
    return by_batches(predict, rows, batch_size=int(batch_size))


def by_batches(
    predict: Callable[[Mapping[str, Any]], jax.Array],
    rows: Mapping[str, np.ndarray],
    *,
    batch_size: int,
) -> np.ndarray:
    """The probabilities of the rows of a batch, float32[n, C], some at a time.

    The last are filled up with copies of the last row, so one program serves all.

    Args:
        predict: as `predictor` makes it; one that has been used for this size compiles no more.
        rows: a batch with an entry "image", of one row at least.
        batch_size: how many at a time.
    """
    count = len(rows["image"])
    size = min(batch_size, count)
    found = []
    for start in range(0, count, size):
        chosen = np.minimum(np.arange(start, start + size), count - 1)
        batch = {name: jnp.asarray(x[chosen]) for name, x in rows.items()}
        found.append(np.asarray(predict(batch), np.float32))
    return np.concatenate(found)[:count]
