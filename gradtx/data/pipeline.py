"""Batches of a data set: deterministic in (seed, epoch), and resumable at any batch.

They are as the examples lie in memory, in uint8: what is done to them is done on the device, by
`gradtx.augment`. Of an epoch the order alone is random, drawn at its start, so its batches depend
neither on the threads nor on where reading starts, nor on which of several processes reads them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.data.order import Order, check_start, train_order, valid_order
from gradtx.data.reading import Batch, bytes_of, read_batch, read_split
from gradtx.data.skipped import SkippedImages
from gradtx.kinds import checked

if TYPE_CHECKING:
    import grain


@checked
def train_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    skipped: SkippedImages | None = None,
    shard: tuple[int, int] = (0, 1),
    num_threads: int = 2,
    prefetch: int = 4,
) -> "grain.DatasetIterator[Batch]":
    """Iterate over one epoch of full, shuffled batches.

        batch = {image: uint8[b, ...], label, weight = 1, id: the number in the data set}

    Photos lie on canvases (`on_canvas`) and have an entry `size`. The last len(train) mod
    batch_size images of the epoch's order are left out. The iterator is grain's: `get_state()` is
    {"next_index": batches given so far}, `set_state` takes it back, and `close()` ends its threads
    early.

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.
        seed: of the order, at least 0.
        epoch: the number of the epoch, from 0 on; each has its own order.
        start: the number of batches to leave out at the beginning, at no cost: the rest is
            identical, byte for byte.
        skipped: notes the images that cannot be read. Their rows have weight 0 and repeat another
            of their batch, so that batch statistics see no image that is not one. None makes the
            first an error.
        shard: (i, n) gives rows i b .. (i + 1) b of each batch, where b = batch_size / n, for
            process i of n.
        num_threads: how many batches are made at a time.
        prefetch: how many batches are made ahead.

    Raises:
        DataError: if a number is out of range, or, on iteration, if an image cannot be read and
            there is no `skipped`, too many cannot, or none of a batch can.
    """
    order = train_order(dataset, batch_size=batch_size, seed=seed, epoch=epoch, shard=shard)
    check_start(start, len(order.indices))
    return _prefetched(
        dataset, "train", order, skipped, start=start, num_threads=num_threads, prefetch=prefetch
    )


@checked
def valid_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    skipped: SkippedImages | None = None,
    shard: tuple[int, int] = (0, 1),
    num_threads: int = 2,
    prefetch: int = 4,
) -> "grain.DatasetIterator[Batch]":
    """Iterate over the whole validation set once, in its order.

    All batches have `batch_size` rows, so that a jitted step compiles once: the last one is filled
    up with repetitions whose weight is 0. Sums over `weight` are therefore exact.

        batch = {image: uint8[b, ...], label, weight = 1, or 0 where it is filled up, id}

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.
        skipped: notes the images that cannot be read, as in `train_batches`; where nothing is left
            of a batch, it is black, with weight 0.
        shard: (i, n) for the part of process i of n, as in `train_batches`.
        num_threads: how many batches are made at a time.
        prefetch: how many batches are made ahead.

    Raises:
        DataError: if a number is out of range, or, on iteration, if an image cannot be read.
    """
    order = valid_order(dataset, batch_size=batch_size, shard=shard)
    return _prefetched(
        dataset, "valid", order, skipped, start=0, num_threads=num_threads, prefetch=prefetch
    )


@checked
def device_arrays(
    dataset: Dataset,
    *,
    split: str = "train",
    limit: int | None = 2**31,
    skipped: SkippedImages | None = None,
) -> Batch:
    """One whole split, in its order, as one batch of arrays.

    For data sets to be put on the device whole, for compiled epochs and `gradtx.loop.Rows`.

    Args:
        dataset: the data set.
        split: "train" or "valid".
        limit: the most that it may take, in bytes; None: any.
        skipped: notes the images that cannot be read, as in `train_batches`; they have weight 0 and
            repeat the first that can.

    Raises:
        DataError: if it would take more than `limit` bytes, or `split` is unknown.
    """
    if split not in ("train", "valid"):
        raise DataError(
            f"device_arrays: `split` must be 'train' or 'valid'; got {split!r}. Name one."
        )
    need = bytes_of(dataset, split)
    if limit is not None and need > limit:
        raise DataError(
            f"device_arrays: {dataset.name} must fit into {limit / 2**30:.1f} GiB; its {split} "
            f"images take {need / 2**30:.1f} GiB. Raise the limit, or use train_batches."
        )
    return read_split(dataset, split, skipped)


def _prefetched(
    dataset: Dataset,
    split: str,
    order: Order,
    skipped: SkippedImages | None,
    *,
    start: int,
    num_threads: int,
    prefetch: int,
) -> "grain.DatasetIterator[Batch]":
    """The iterator of grain over the batches of `order` from number `start` on."""
    import grain  # with it comes all of Orbax, which takes long

    def make(step: int) -> Batch:
        return read_batch(dataset, split, order.indices[step], order.weight[step], skipped)

    # An element is a whole batch: grain's cost per element is then paid once per batch.
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    steps: Any = np.arange(len(order.indices))  # a sequence to grain, though not to its types
    iterator = iter(grain.MapDataset.source(steps).map(make).to_iter_dataset(options))
    iterator.set_state({"next_index": start})
    return iterator
