"""Images of one size: a random box of each, or the middle."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.augment.boxes import middle_box, random_box, whole_box
from gradtx.augment.checks import require
from gradtx.augment.examples import Batch, Prepare, entry, example_keys, on_canvas
from gradtx.augment.resample import resample, resample_canvas
from gradtx.kinds import Whole, checked

SCALE, RATIO = (0.35, 1.0), (3 / 4, 4 / 3)


@checked
def random_resized_crop(
    size: Whole,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    inputs: str = "image",
) -> Prepare:
    """A random box of each image, resized; without a key the largest square in the middle.

        area of the box ~ U(scale) height width        log(its width / height) ~ U(log(ratio))

    Images with an entry "size" are photos on a canvas (see `gradtx.augment.resample`), and the
    result has none; others are taken whole. They come out in float32, in the units that they had,
    within 2 of 255 levels of what Pillow's `resize(box=..., BILINEAR)` makes of the same pixels.

    Args:
        size: the side of the result, in pixels.
        scale: (low, high) of the share of an image's area that the box has, in (0, 1].
        ratio: (low, high) of the box's width over its height, above 0.
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if a number is outside its bounds; when called, if there are no such images.

    Source: the random resized crop is that of Szegedy et al. (2015), section 6.
    """
    check_crop("random_resized_crop", scale, ratio)
    draw = lambda key, h, w: random_box(key, h, w, scale=scale, ratio=ratio)
    return _cropped("random_resized_crop", size, draw, inputs)


@checked
def center_crop(size: Whole, *, inputs: str = "image") -> Prepare:
    """The largest square in the middle of each image, resized, with or without a key.

    It is what `random_resized_crop` does in validation.

    Args:
        size: the side of the result, in pixels.
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if `size` is not a whole number of pixels; when it is called, if there are no
            such images.
    """
    prepare = _cropped("center_crop", size, None, inputs)
    return lambda batch, key: prepare(batch, None)


@checked
def resize(size: Whole, *, inputs: str = "image") -> Prepare:
    """Each image as a whole, squeezed into a square, with or without a key.

    Images of that size already stay as they are; others, and photos on canvases, come out in
    float32.

    Args:
        size: the side of the result, in pixels.
        inputs: the batch's entry of images, [B, H, W, C].

    Raises:
        ValueError: if `size` is not a whole number of pixels; when it is called, if there are no
            such images.
    """
    squeeze = _cropped("resize", size, None, inputs, plain=whole_box)

    def prepare(batch: Batch, key: jax.Array | None) -> Batch:
        del key
        images = entry("resize", batch, inputs)
        same = not on_canvas(batch) and images.shape[1:3] == (size, size)
        return batch if same else squeeze(batch, None)

    return prepare


def check_crop(where: str, scale: Any, ratio: Any) -> None:
    """Raise an error for shares and shapes that no box can have."""
    in_order = lambda a, b: 0 < a <= b
    must, do = "satisfy 0 < low <= high <= 1", "Choose shares such as (0.35, 1)."
    require(where, "scale", scale, lambda a, b: in_order(a, b) and b <= 1, must=must, do=do)
    must, do = "satisfy 0 < low <= high", "Choose ratios such as (3/4, 4/3)."
    require(where, "ratio", ratio, in_order, must=must, do=do)


def _cropped(where: str, size: int, draw: Any, inputs: str, plain: Any = middle_box) -> Prepare:
    """The box that `draw(key, height, width)` gives of each image; without a key `plain`'s."""

    def prepare(batch: Batch, key: jax.Array | None) -> Batch:
        images = entry(where, batch, inputs)
        if jnp.ndim(images) != 4:
            raise ValueError(
                f"{where}: batch[{inputs!r}] must be images [B, H, W, C]; got the shape"
                f" {list(jnp.shape(images))}. Give gray ones an axis of one channel."
            )
        box_of = lambda key, h, w: plain(h, w) if key is None else draw(key, h, w)
        keys = None if key is None else example_keys(batch, key, inputs=inputs)
        over_keys = None if key is None else 0
        if not on_canvas(batch):

            def one(image: jax.Array, key: Any) -> jax.Array:
                return resample(image, box_of(key, *image.shape[:2]), size=size)

            out = jax.vmap(one, (0, over_keys))(images, keys)
            return {**batch, inputs: out}

        def photo(canvas: jax.Array, extent: jax.Array, key: Any) -> jax.Array:
            return resample_canvas(canvas, extent, box_of(key, *extent), size=size)

        out = jax.vmap(photo, (0, 0, over_keys))(images, batch["size"], keys)
        rest = {name: x for name, x in batch.items() if name != "size"}
        return {**rest, inputs: out}

    return prepare
