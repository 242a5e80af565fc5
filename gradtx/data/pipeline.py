"""Batches of a data set: deterministic in (seed, epoch), and resumable at any batch.

An epoch's order and every random number of its augmentation are drawn at its start from
(seed, epoch) alone, so the images of an epoch depend neither on the threads nor on where reading
starts, nor on which of several processes reads them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.data.augment import Augmentation, draw
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.data.reading import PLAIN, Batch, BatchReader
from gradtx.data.skipped import SkippedImages

if TYPE_CHECKING:
    import grain


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """The number of full training batches in an epoch: len(train) // batch_size.

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.

    Raises:
        DataError: if there is not even one.
    """
    check_positive("batch_size", batch_size)
    steps = len(dataset.train) // batch_size
    if not steps:
        raise DataError(
            f"pipeline: {dataset.name} must have one batch of training images at least; got "
            f"{len(dataset.train)} with batch_size={batch_size}. Lower the batch size."
        )
    return steps


def train_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    augment: Augmentation | None = PLAIN,
    skipped: SkippedImages | None = None,
    shard: tuple[int, int] = (0, 1),
    num_threads: int = 2,
    prefetch: int = 4,
) -> "grain.DatasetIterator[Batch]":
    """Iterate over one epoch of full, shuffled, augmented and normalized batches.

        image = (augmented / 255 - mean) / std        weight = 1

    The last len(train) mod batch_size images of the epoch's order are left out. The iterator is
    grain's: `get_state()` is {"next_index": batches given so far}, `set_state` takes it back, and
    `close()` ends its threads early.

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.
        size: the side of the images, in pixels.
        seed: of the order and the augmentation, at least 0.
        epoch: the number of the epoch, from 0 on; each has its own order.
        start: the number of batches to leave out at the beginning, at no cost: the rest is
            identical, byte for byte.
        augment: how images are changed at random; None only shuffles.
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
    steps = steps_per_epoch(dataset, batch_size)
    check_positive("size", size)
    if seed < 0 or epoch < 0:
        raise DataError(f"pipeline: `seed` and `epoch` must be 0 or more; got {seed}, {epoch}.")
    if not 0 <= start <= steps:
        raise DataError(f"pipeline: `start` must be in 0..{steps} batches; got {start}.")
    count = len(dataset.train)
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count)[: steps * batch_size].reshape(steps, batch_size)
    draws = None if augment is None else draw(count=count, rng=rng)
    order = shard_rows(order, shard)
    reader = BatchReader(dataset, "train", size, augment or PLAIN, skipped)

    def make(indices: np.ndarray) -> Batch:
        rows = None if draws is None else draws[indices]
        return reader.batch(indices, np.ones(len(indices), np.float32), rows)

    return prefetched(order, make, start=start, num_threads=num_threads, prefetch=prefetch)


def valid_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    size: int,
    skipped: SkippedImages | None = None,
    shard: tuple[int, int] = (0, 1),
    num_threads: int = 2,
    prefetch: int = 4,
) -> "grain.DatasetIterator[Batch]":
    """Iterate over the whole validation set once, in its order, with nothing random.

    All batches have `batch_size` rows, so that a jitted step compiles once: the last one is filled
    up with repetitions whose weight is 0. Sums over `weight` are therefore exact.

        image = (plain / 255 - mean) / std        weight = 1, or 0 where the batch is filled up

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.
        size: the side of the images, in pixels.
        skipped: notes the images that cannot be read, as in `train_batches`; where nothing is left
            of a batch, it is black, with weight 0.
        shard: (i, n) for the part of process i of n, as in `train_batches`.
        num_threads: how many batches are made at a time.
        prefetch: how many batches are made ahead.

    Raises:
        DataError: if a number is out of range, or, on iteration, if an image cannot be read.
    """
    count = len(dataset.valid)
    check_positive("batch_size", batch_size)
    check_positive("size", size)
    if not count:
        raise DataError(f"pipeline: {dataset.name} has no validation images. Add some.")
    steps = -(-count // batch_size)
    positions = shard_rows(np.arange(steps * batch_size).reshape(steps, batch_size), shard)
    reader = BatchReader(dataset, "valid", size, skipped=skipped)

    def make(positions: np.ndarray) -> Batch:
        weight = (positions < count).astype(np.float32)
        indices = np.minimum(positions, count - 1)
        return reader.batch(indices, weight)

    return prefetched(positions, make, start=0, num_threads=num_threads, prefetch=prefetch)


def device_arrays(
    dataset: Dataset,
    *,
    size: int,
    split: str = "train",
    limit: int = 2**31,
    skipped: SkippedImages | None = None,
) -> Batch:
    """One whole split, in its order and not augmented, as one batch of arrays.

    For small data sets, to be put on the device whole for compiled epochs. For the augmented
    batches of an epoch, stack those.

    Args:
        dataset: the data set.
        size: the side of the images, in pixels.
        split: "train" or "valid".
        limit: the most that the images may take, in bytes.
        skipped: notes the images that cannot be read, as in `train_batches`.

    Raises:
        DataError: if the images would take more than `limit` bytes, or `split` is unknown.
    """
    if split not in ("train", "valid"):
        raise DataError(f"device_arrays: `split` must be 'train' or 'valid'; got {split!r}.")
    check_positive("size", size)
    reader = BatchReader(dataset, split, size, skipped=skipped)
    count = len(reader.source)
    need = 4 * count * size * size * dataset.channels
    if need > limit:
        raise DataError(
            f"device_arrays: {dataset.name} must fit into {limit / 2**30:.1f} GiB; its {split} "
            f"images take {need / 2**30:.1f} GiB at size {size}. Lower the size, or use "
            "train_batches."
        )
    return reader.batch(np.arange(count), np.ones(count, np.float32))


def check_positive(name: str, value: int) -> None:
    """Raise an error unless `value` is positive."""
    if value < 1:
        raise DataError(f"pipeline: `{name}` must be positive; got {value}.")


def shard_rows(rows: np.ndarray, shard: tuple[int, int]) -> np.ndarray:
    """The columns of `rows` [steps, batch_size] that belong to process i of n."""
    index, count = shard
    batch_size = rows.shape[1]
    if not 0 <= index < count or batch_size % count:
        raise DataError(
            f"pipeline: `shard` must be (i, n) with 0 <= i < n and n a divisor of the batch size "
            f"{batch_size}; got {shard}."
        )
    part = batch_size // count
    return rows[:, index * part : (index + 1) * part]


def prefetched(
    rows: Any,  # an array is a sequence to grain, though not to its types
    make: Callable[[np.ndarray], Batch],
    *,
    start: int,
    num_threads: int,
    prefetch: int,
) -> "grain.DatasetIterator[Batch]":
    """The iterator of grain over `make(row)` for each of `rows` from `start` on."""
    import grain  # with it comes all of Orbax, which takes long

    # An element is a whole batch: grain's cost per element is then paid once per batch.
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    iterator = iter(grain.MapDataset.source(rows).map(make).to_iter_dataset(options))
    iterator.set_state({"next_index": start})
    return iterator
