"""What belongs to each example of a batch: its key, and a function of one image made one of all."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import checked

Batch = Mapping[str, Any]
Prepare = Callable[[Batch, jax.Array | None], Batch]
"""(batch, key) -> batch; with the key None its deterministic form, for validation."""


def example_keys(batch: Batch, key: jax.Array, *, inputs: str = "image") -> jax.Array:
    """A key for each example, by its number in the data set: key[B].

        key_i = fold_in(key, id_i)        id_i = i where the batch has no entry "id"

    Args:
        batch: with an entry "id", int32[B], as the batches of `gradtx.data` have it.
        key: of the random numbers, a typed key.
        inputs: the entry of examples, which are counted where there are no ids.
    """
    ids = batch["id"] if "id" in batch else jnp.arange(len(batch[inputs]), dtype=jnp.int32)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, ids)


def batch_key(batch: Batch, key: jax.Array) -> jax.Array:
    """A key for what the examples of a batch have in common, by the first of them.

        key' = fold_in(key, id_0)        key where the batch has no entry "id"

    Args:
        batch: as for `example_keys`.
        key: of the random numbers, a typed key.
    """
    return jax.random.fold_in(key, batch["id"][0]) if "id" in batch else key


def on_canvas(batch: Batch) -> bool:
    """Whether the images are photos on canvases: then there is an entry "size", int32[B, 2].

    Args:
        batch: any.
    """
    return "size" in batch and jnp.ndim(batch["size"]) == 2


def entry(where: str, batch: Batch, name: str) -> jax.Array:
    """What a batch has under a name.

    Args:
        where: how the message begins.
        batch: any.
        name: the entry's.

    Raises:
        ValueError: if there is none.
    """
    if name not in batch:
        raise ValueError(
            f"{where}: the batch must have an entry {name!r}; got {', '.join(map(str, batch))}."
            " Name the one to take: `inputs` is that of images, `label` that of labels."
        )
    return batch[name]


def require_images(where: str, batch: Batch, *, inputs: str = "image") -> None:
    """Require images that fill their arrays, not photos on canvases.

    Args:
        where: how the message begins.
        batch: any.
        inputs: the entry of images.

    Raises:
        ValueError: for photos on canvases, or if there is no such entry.
    """
    entry(where, batch, inputs)
    if on_canvas(batch):
        raise ValueError(
            f"{where}: images must fill their arrays; got photos on canvases (the batch has an"
            " entry 'size'). Put `random_resized_crop` or `center_crop` before it."
        )


@checked
def each_image(f: Callable[[Any, Any], Any], *, inputs: str = "image") -> Prepare:
    """An augmentation from a function of one image and a key.

        image_i' = f(image_i, key_i)        key_i as in `example_keys`

    Without a key, in validation, the batch stays as it is.

    >>> noise = lambda image, key: image + jax.random.normal(key, image.shape)
    >>> batch = {"image": jnp.zeros((2, 4, 4, 3)), "id": jnp.array([7, 9])}
    >>> each_image(noise)(batch, jax.random.key(0))["image"].shape
    (2, 4, 4, 3)

    Args:
        f: a function of an image [H, W, C] and a key to an image, which `jax.vmap` is put around.
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: when it is called, for photos on canvases, which must be cropped first, or if
            the batch has no such entry.
    """

    def prepare(batch: Batch, key: jax.Array | None) -> Batch:
        require_images(f"each_image: {getattr(f, '__name__', 'function')}", batch, inputs=inputs)
        if key is None:
            return batch
        keys = example_keys(batch, key, inputs=inputs)
        return {**batch, inputs: jax.vmap(f)(batch[inputs], keys)}

    return prepare
