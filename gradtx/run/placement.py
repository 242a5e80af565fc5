"""Where a run's images live: on the devices, whole, or on the host, from which batches travel."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradtx import data
from gradtx.loop import Rows
from gradtx.parallel.mesh import place
from gradtx.parallel.processes import from_first, say

Cache = Literal["auto", "device", "host", "none"]
SHARE = 4  # "auto" gives a data set at most one part of so many of the free memory


def on_device(dataset: data.Dataset, cache: str, mesh: Mesh | None = None) -> bool:
    """Whether the images are to be on the devices.

        auto: size of both splits <= least free memory / 4

    On a CPU, and wherever a device does not report its memory, "auto" is "host".

    Args:
        dataset: the images.
        cache: "auto", "device", "host" or "none".
        mesh: the devices; None for the default one.
    """
    if cache != "auto":
        return cache == "device"
    devices = jax.local_devices()[:1] if mesh is None else list(mesh.local_mesh.devices.flat)
    free = _least_free([device.memory_stats() for device in devices])
    fits = free is not None and SHARE * size_of(dataset) <= free
    return bool(from_first(int(fits)))  # of several processes all must do the same


def _least_free(reported: Iterable[Mapping[str, int] | None]) -> int | None:
    """The least free memory of some devices, in bytes; None if one does not report it."""
    known = [stats or {} for stats in reported]
    if not all("bytes_limit" in stats and "bytes_in_use" in stats for stats in known):
        return None
    return min(stats["bytes_limit"] - stats["bytes_in_use"] for stats in known)


def size_of(dataset: data.Dataset) -> int:
    """What both splits take, in bytes.

    Args:
        dataset: the images.
    """
    return sum(data.bytes_of(dataset, split) for split in ("train", "valid"))


class Resident:
    """A data set whose images are on the devices: a batch is `Rows` of it.

    Each split goes there when its first batch is asked for, a copy on each device.

    Args:
        dataset: the images.
        skipped: notes those that can't be read.
        mesh: the devices; None for the default one.
    """

    def __init__(  # noqa: D107
        self, dataset: data.Dataset, skipped: data.SkippedImages, mesh: Mesh | None
    ) -> None:
        self.dataset, self.skipped, self.mesh = dataset, skipped, mesh
        self.split: Callable[[str], tuple[Any, np.ndarray]] = cache(self._load)

    def _load(self, split: str) -> tuple[Any, np.ndarray]:
        """A split on the devices, and which of its images can be read."""
        arrays = dict(
            data.device_arrays(self.dataset, split=split, limit=None, skipped=self.skipped)
        )
        readable = arrays["weight"] > 0
        size = sum(x.nbytes for x in arrays.values())
        what = {"train": "Training", "valid": "Validation"}[split]
        say(f"{what} images are on the device: {size / 1e6:,.0f} MB.")
        if self.mesh is None:
            return jax.device_put(arrays), readable
        whole = NamedSharding(self.mesh, PartitionSpec())
        return place(arrays, jax.tree.map(lambda _: whole, arrays)), readable

    def batches(self, split: str, order: data.Order) -> Iterator[Rows]:
        """The batches of an order, each as the rows of it.

        Args:
            split: "train" or "valid".
            order: which examples are in which batch.

        Raises:
            DataError: if none of a training batch can be read.
        """
        arrays, readable = self.split(split)
        order = data.only_readable(order, readable)
        for indices, weight in zip(*order, strict=True):
            if split == "train" and not weight.any():
                raise data.DataError(
                    "pipeline: no image of a batch could be read. See skipped.jsonl for the names."
                )
            yield Rows(arrays, indices, {"weight": weight})
