"""Photos on canvases: decoded whenever they are read, or once, into a cache."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradtx.data.canvas import canvas_side
from gradtx.data.canvas_cache import CanvasCache, amount
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.data.photo_source import PhotoSource
from gradtx.files import as_path, printable
from gradtx.kinds import checked

LIMIT = 20e9  # bytes


@checked
def on_canvas(
    dataset: Dataset,
    *,
    size: int,
    scale: float = 0.35,
    side: int | None = None,
    cache: str | Path | None = None,
    limit: float = LIMIT,
    say: Callable[[str], Any] = print,
    processes: int | None = None,
) -> Dataset:
    """The data set with its photos on canvases, as `Source.rows` gives them.

    Arrays, and photos that are on canvases already, stay as they are.

    Without a cache a photo is decoded whenever it is read. With one, all are decoded here, into
    `cache`/canvases, unless that has been done before; from then on they are read from the disk.
    The canvases are the same, bit by bit. A cache is made anew where the photos, the canvas, its
    rule or the version of Pillow are others, or where it is damaged, and the old one is removed.
    Where it cannot be, a line says so, and photos are decoded when they are read.

    Args:
        dataset: the data set.
        size: the side of the images that the model gets, in pixels.
        scale: the smallest share of a photo's area that a crop takes.
        side: of the canvas, in pixels; None: `canvas_side` of the others.
        cache: the directory of the caches; None writes nothing.
        limit: the most bytes that a cache may take.
        say: called with each line about the cache.
        processes: how many to start to decode; None: one a core, for photos enough.

    Raises:
        DataError: if a size is not positive or a share not in (0, 1].
    """
    if dataset.canvas is not None:
        return dataset
    if not isinstance(dataset.train, PhotoSource) or not isinstance(dataset.valid, PhotoSource):
        return dataset  # arrays
    if size < 1 or not 0 < scale <= 1:
        raise DataError(
            f"on_canvas: `size` must be positive and `scale` in (0, 1]; got {size} and {scale}."
            " Choose others."
        )
    if side is None:
        side = canvas_side(size, scale=scale, largest=dataset.largest or size)
    train, valid = (source.on_canvas(side) for source in (dataset.train, dataset.valid))
    direct = replace(dataset, train=train, valid=valid, canvas=side)
    if cache is None:
        return direct
    place = as_path(cache) / "canvases" / (dataset.place or dataset.name)
    store = CanvasCache(place, direct, limit=limit, say=say)
    without = "Photos are decoded whenever they are read."
    if store.bytes > limit:
        say(
            f"No cache of decoded photos: it would take {amount(store.bytes)}, above the limit of"
            f" {amount(limit)}. {without}"
        )
        with suppress(OSError):
            store.tidy()
        return direct
    try:
        return store.open(processes)
    except OSError as error:
        why = error.strerror or error
        say(f"No cache of decoded photos in {printable(place)}: {why}. {without}")
        return direct
