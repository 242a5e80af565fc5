"""A part of a split, to try something with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradtx.data.dataset import Dataset, Examples, Source
from gradtx.kinds import checked


@dataclass(frozen=True, eq=False)
class Subset:
    """The examples of a source at some indices, numbered anew."""

    source: Source
    indices: np.ndarray

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """An example, as the source has it."""
        return self.source[int(self.indices[index])]

    @property
    def labels(self) -> np.ndarray:
        """The label of each example, int32[n]."""
        return self.source.labels[self.indices]

    def rows(self, indices: np.ndarray) -> Examples:
        """The examples of int[n] indices, in that order."""
        return self.source.rows(self.indices[indices])


@checked
def limit_valid(dataset: Dataset, count: int) -> Dataset:
    """The data set with `count` validation images, if it has more, spread over the classes.

        the images of row (i + 1/2) n / count, for i = 0..count - 1, where all n are sorted by class

    So each class has its share of them, and which they are depends on nothing else.

    Args:
        dataset: the data set.
        count: how many images to keep.
    """
    labels = dataset.valid.labels if count < len(dataset.valid) else np.zeros(0)
    if not len(labels):
        return dataset
    places = ((np.arange(count) + 0.5) * len(labels) / count).astype(int)
    chosen = np.sort(np.argsort(labels, kind="stable")[places])
    return replace(dataset, valid=Subset(dataset.valid, chosen))
