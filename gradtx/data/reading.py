"""Examples of a split as a batch, with weight 0 for what cannot be read."""

from collections.abc import Mapping

import numpy as np

from gradtx.data.dataset import Dataset, Source
from gradtx.data.errors import DataError
from gradtx.data.order import spared
from gradtx.data.skipped import SkippedImages
from gradtx.kinds import checked

Batch = Mapping[str, np.ndarray]
"""dict(image=uint8[b, h, w, c], label=int32[b], weight=float32[b], id=int32[b]); of photos also
size=int32[b, 2]: see `gradtx.data.Examples`."""

FIRST = np.zeros(1, int)  # the index of the first example, which shows what all are like
CHUNK = 256  # examples that are read at a time where all are


def split_of(dataset: Dataset, split: str) -> Source:
    """The images of "train" or "valid"."""
    return dataset.train if split == "train" else dataset.valid


def read_batch(
    dataset: Dataset,
    split: str,
    indices: np.ndarray,
    weight: np.ndarray,
    skipped: SkippedImages | None,
) -> Batch:
    """The examples at `indices`; what cannot be read has weight 0 and repeats another row.

    Raises:
        DataError: if an image cannot be read and there is no `skipped`, too many cannot, or no
            training image of the batch can.
    """
    arrays, unreadable = split_of(dataset, split).rows(indices)
    batch = {**arrays, "weight": weight, "id": indices.astype(np.int32)}
    if not unreadable:
        return batch
    note(split, indices, unreadable, skipped)
    readable = np.ones(len(indices), bool)
    readable[list(unreadable)] = False
    check_one(split, readable, unreadable, skipped)
    rows = spared(readable)
    return {name: x[rows] for name, x in batch.items()} | {"weight": weight * readable}


def note(
    split: str, indices: np.ndarray, unreadable: Mapping[int, str], skipped: SkippedImages | None
) -> None:
    """Note what cannot be read in `skipped`; without it that is an error."""
    for position, why in unreadable.items():
        if skipped is None:
            raise DataError(why)
        skipped.add(split, int(indices[position]), why)


def check_one(
    split: str, readable: np.ndarray, why: Mapping[int, str], skipped: SkippedImages | None
) -> None:
    """Require a training batch to have an image; a validation batch without one counts nothing."""
    if split == "train" and not readable.any():
        if skipped is not None:
            skipped.stop()
        last = list(why.values())[-1]
        raise DataError(f"pipeline: no image of a batch could be read. {last}")


def read_split(dataset: Dataset, split: str, skipped: SkippedImages | None) -> Batch:
    """One whole split, in its order; what cannot be read has weight 0 and repeats another image.

    Raises:
        DataError: if an image cannot be read and there is no `skipped`, or too many cannot.
    """
    source = split_of(dataset, split)
    count = len(source)
    whole = {
        name: np.empty((count, *x.shape[1:]), x.dtype)
        for name, x in source.rows(FIRST).arrays.items()
    }
    weight = np.ones(count, np.float32)
    for start in range(0, count, CHUNK):
        indices = np.arange(start, min(start + CHUNK, count))
        arrays, unreadable = source.rows(indices)
        for name, x in arrays.items():
            whole[name][indices] = x
        note(split, indices, unreadable, skipped)
        weight[indices[list(unreadable)]] = 0
    bad = np.flatnonzero(weight == 0)
    for x in whole.values():
        x[bad] = x[np.argmax(weight)]
    return {**whole, "weight": weight, "id": np.arange(count, dtype=np.int32)}


@checked
def bytes_of(dataset: Dataset, split: str) -> int:
    """What a whole split takes, in bytes.

    Args:
        dataset: the data set.
        split: "train" or "valid".
    """
    source = split_of(dataset, split)
    one = source.rows(FIRST).arrays.values() if len(source) else ()
    return len(source) * sum(x.nbytes for x in one)
