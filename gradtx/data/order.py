"""Which examples are in which batch: deterministic in (seed, epoch), the same for any number of
processes, of which each takes its columns.
"""

from typing import NamedTuple

import numpy as np

from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.kinds import checked


class Order(NamedTuple):
    """The examples of each batch.

    Args:
        indices: int32[steps, b], of examples in their split.
        weight: float32[steps, b], 0 where a row only fills up its batch.
    """

    indices: np.ndarray
    weight: np.ndarray


@checked
def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """The number of full training batches in an epoch: len(train) // batch_size.

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.

    Raises:
        DataError: if there is not even one.
    """
    _check_positive(batch_size)
    steps = len(dataset.train) // batch_size
    if not steps:
        raise DataError(
            f"pipeline: {dataset.name} must have one batch of training images at least; got "
            f"{len(dataset.train)} with batch_size={batch_size}. Lower the batch size."
        )
    return steps


@checked
def train_order(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Order:
    """The batches of an epoch from number `start` on: full, and in a random order.

        order = permutation(len(train))[: steps * batch_size]        of (seed, epoch) alone

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.
        seed: of the order, at least 0.
        epoch: the number of the epoch, from 0 on.
        start: the number of batches to leave out at the beginning.
        shard: (i, n) gives rows i b .. (i + 1) b of each batch, where b = batch_size / n, for
            process i of n.

    Raises:
        DataError: if a number is out of range.
    """
    steps = steps_per_epoch(dataset, batch_size)
    if seed < 0 or epoch < 0:
        raise DataError(
            f"pipeline: `seed` and `epoch` must be 0 or more; got {seed}, {epoch}. Count from 0."
        )
    check_start(start, steps)
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(dataset.train))[: steps * batch_size].astype(np.int32)
    rows = _part(order.reshape(steps, batch_size), shard)[start:]
    return Order(rows, np.ones(rows.shape, np.float32))


@checked
def valid_order(dataset: Dataset, *, batch_size: int, shard: tuple[int, int] = (0, 1)) -> Order:
    """The batches of the validation set, in its order; the last is filled up with weight 0.

    Args:
        dataset: the data set.
        batch_size: rows of a batch, of all processes together.
        shard: (i, n) for the part of process i of n, as in `train_order`.

    Raises:
        DataError: if a number is out of range, or there are no validation images.
    """
    count = len(dataset.valid)
    _check_positive(batch_size)
    if not count:
        raise DataError(f"pipeline: {dataset.name} has no validation images. Add some.")
    steps = -(-count // batch_size)
    rows = _part(np.arange(steps * batch_size, dtype=np.int32).reshape(steps, batch_size), shard)
    return Order(np.minimum(rows, count - 1), (rows < count).astype(np.float32))


def spared(readable: np.ndarray) -> np.ndarray:
    """Which row stands in each row's place: itself, or the first readable one of its batch.

    So batch statistics see no image that is not one. Where none is readable all stay.

    >>> spared(np.array([[False, False, True, False]])).tolist()
    [[2, 2, 2, 2]]

    Args:
        readable: bool[..., b].
    """
    rows = np.broadcast_to(np.arange(readable.shape[-1]), readable.shape)
    first = np.argmax(readable, axis=-1, keepdims=True)
    return np.where(readable | ~readable.any(axis=-1, keepdims=True), rows, first)


@checked
def only_readable(order: Order, readable: np.ndarray) -> Order:
    """The order with weight 0 for what cannot be read, and another image in its place.

    Args:
        order: of a split.
        readable: bool[n], which images of the split can be read.
    """
    seen = readable[order.indices]
    indices = np.take_along_axis(order.indices, spared(seen), axis=-1)
    return Order(indices, order.weight * seen.astype(np.float32))


def check_start(start: int, steps: int) -> None:
    """Require a number of batches to leave out that there is.

    Args:
        start: the number.
        steps: batches of the epoch.

    Raises:
        DataError: if it is out of range.
    """
    if not 0 <= start <= steps:
        raise DataError(
            f"pipeline: `start` must be in 0..{steps} batches; got {start}. Begin within the epoch."
        )


def _check_positive(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(
            f"pipeline: `batch_size` must be positive; got {batch_size}. Pass 1 or more."
        )


def _part(rows: np.ndarray, shard: tuple[int, int]) -> np.ndarray:
    """The columns of `rows` [steps, batch_size] that belong to process i of n."""
    index, count = shard
    batch_size = rows.shape[1]
    if not 0 <= index < count or batch_size % count:
        raise DataError(
            f"pipeline: `shard` must be (i, n) with 0 <= i < n and n a divisor of the batch size "
            f"{batch_size}; got {shard}. Choose a batch size that all processes divide."
        )
    part = batch_size // count
    return rows[:, index * part : (index + 1) * part]
