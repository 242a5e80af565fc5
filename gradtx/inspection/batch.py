"""A batch, as the model sees it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gradtx.data import Dataset, ImageSpec, on_canvas
from gradtx.drawing import draw_images
from gradtx.inspection.subject import Subject, counted_rows, images_of
from gradtx.kinds import Count, checked
from gradtx.loop.form import entry
from gradtx.loop.rows import gathered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 128  # pixels, of the photos of a data set


@checked
def show_batch(
    source: Any,
    *,
    prepare: Callable[[Any, Any], Any] | None = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    inputs: str | int = "image",
    label: str | int = "label",
    count: Count = 9,
    seed: int = 0,
) -> "Figure":
    """Draw the first images of the first training batch, augmented as for training, with labels.

        batch' = prepare(batch, key(seed))        image = 255 (batch'[inputs] std + mean)

    Rows of weight 0, which only fill a batch up, are left out.

    Args:
        source: a batch, batches as `fit` takes them, a data set, or what `image_source` returns.
        prepare: (batch, key) -> batch, as `Loop` takes it; None: that of the source, if it has a
            `spec`; of the photos of a data set the square in the middle.
        classes: names by label; None: the source's, else the labels' numbers.
        mean: what the images were normalized by, of each channel; None: as the source says.
        std: the standard deviations with it.
        inputs: the entry of images, or its place in a tuple.
        label: the entry of labels, int[B] or float[B, C]; there may be none.
        count: how many images, at most.
        seed: of the random numbers of `prepare`.

    Raises:
        TypeError: if the source gives no batches.
        ValueError: if there is no batch, or it has no images that can be shown.
        ImportError: without matplotlib, from the extra `plot`.
    """
    if isinstance(source, Dataset) and source.photos and prepare is None:
        source = on_canvas(source, size=SIDE)
        prepare = ImageSpec.of(source, size=SIDE).prepare  # the square in the middle
    subject = Subject("show_batch", source, classes, mean, std)
    batch = next(iter(subject.batches("train")), None)
    if batch is None:
        raise ValueError("show_batch: `source` must have a batch; got none. Pass some data.")
    spec = getattr(source, "spec", None)
    prepare = prepare or getattr(spec, "prepare", None)
    batch = gathered(batch)
    if prepare is not None:
        batch = prepare(batch, jax.random.key(seed))
    images, rows = images_of("show_batch", batch, inputs), counted_rows(batch)
    chosen = subject.pixels(images[rows][: int(count)])
    try:
        labels = np.asarray(entry("show_batch", batch, label, "", place=1))[rows]
    except ValueError:
        labels = None
    titles = [""] * len(chosen) if labels is None else map(subject.describe, labels[: int(count)])
    return draw_images(chosen, [*titles])
