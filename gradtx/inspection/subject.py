"""What is looked at: batches, and what is known of their images and classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradtx.augment.examples import on_canvas
from gradtx.data import Dataset, train_batches, valid_batches
from gradtx.loop.form import entry
from gradtx.loop.sources import are_several, of_epoch, of_validation
from gradtx.loop.weights import has_weights

BATCH = 64  # images of a data set at a time


@dataclass(frozen=True)
class Subject:
    """Batches, with the names of their classes and the normalization of their images.

    Args:
        where: how a message begins.
        source: as the functions of this room take it.
        classes: the names by label; None: those of the source, else the numbers.
        mean: of each channel, of images in [0, 1]; None: that of the source, if it has one.
        std: of each channel; None: that of the source.
    """

    where: str
    source: Any
    classes: Sequence[str] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Fill in what the source knows, and refuse one half of a normalization."""
        spec = getattr(self.source, "spec", self.source)
        for name in ("classes", "mean", "std"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(spec, name, None))
        if (self.mean is None) != (self.std is None):
            given, other = ("mean", "std") if self.std is None else ("std", "mean")
            raise ValueError(
                f"{self.where}: `mean` and `std` go together; got `{given}` alone. Pass `{other}`"
                " too."
            )

    def batches(self, split: str) -> Iterable[Any]:
        """The batches, as arrays.

        Args:
            split: "train" or "valid", which of a source that has both.

        Raises:
            TypeError: if the source gives none.
        """
        given = getattr(self.source, split, self.source)
        if isinstance(self.source, Dataset):
            return _of_dataset(self.source, split)
        if isinstance(given, Mapping):
            given = [given]
        if callable(given):
            return of_epoch(given, 0, 0) if split == "train" else of_validation(given)
        if not are_several(given) or hasattr(given, "shape"):
            raise TypeError(
                f"{self.where}: `source` must be batches, a function that gives them, or what"
                f" image_source returns; got {type(given).__name__}. Pass a list of batches, which"
                " are dicts of arrays."
            )
        return of_validation(given)

    def name(self, label: int) -> str:
        """The name of a class.

        Args:
            label: its number.
        """
        if self.classes is not None and 0 <= label < len(self.classes):
            return str(self.classes[label])
        return str(label)

    def describe(self, label: Any) -> str:
        """A label in words: a class, or of a mixed label its classes with their shares.

        Args:
            label: int[] or float[C].
        """
        label = np.asarray(label)
        if label.ndim == 0:
            return self.name(int(label))
        parts = [i for i in np.argsort(-label, kind="stable")[:2] if label[i] >= 0.005]
        if len(parts) < 2:
            return self.name(int(label.argmax()))
        return "\n".join(f"{label[i]:.0%} {self.name(int(i))}" for i in parts)

    def pixels(self, images: Any) -> np.ndarray:
        """Images as they can be shown, uint8[n, h, w, 1 or 3], the normalization undone.

            level = round(255 (image std + mean))        of floats

        Of other numbers of channels the first are shown.

        Args:
            images: uint8 or float[n, h, w] or [n, h, w, c].

        Raises:
            ValueError: if they are no images, or floats outside [0, 1] of unknown normalization.
        """
        x = np.asarray(images)
        x = x[..., None] if x.ndim == 3 else x
        if x.ndim != 4 or not x.size:
            raise ValueError(
                f"{self.where}: images must be [B, H, W, C] or [B, H, W]; got shape"
                f" {np.shape(images)}. Name the entry that holds them by `inputs`."
            )
        shown = 3 if x.shape[-1] >= 3 else 1
        if x.dtype == np.uint8:
            return x[..., :shown]
        if x.dtype.kind in "iub":
            raise ValueError(
                f"{self.where}: images must be uint8 or floats; got {x.dtype}. Cast them."
            )
        x = x.astype(np.float32)
        if self.mean is not None and self.std is not None:
            x = x * self._channels("std", x.shape[-1]) + self._channels("mean", x.shape[-1])
        elif (x < -0.01).any() or (x > 1.01).any():  # NaN is neither
            raise ValueError(
                f"{self.where}: images of floats must be in [0, 1], or their normalization known;"
                f" got values from {np.nanmin(x):.3g} to {np.nanmax(x):.3g}. Pass the `mean` and"
                " `std` that they were normalized by."
            )
        x = np.nan_to_num(x, nan=0.0, posinf=1.0, neginf=0.0)
        return np.clip(np.rint(255 * x[..., :shown]), 0, 255).astype(np.uint8)

    def _channels(self, name: str, channels: int) -> np.ndarray:
        values = np.asarray(getattr(self, name), np.float32).reshape(-1)
        if len(values) not in (1, channels):
            raise ValueError(
                f"{self.where}: `{name}` must have a number for each of {channels} channels; got"
                f" {len(values)}. Pass as many."
            )
        return values


def images_of(where: str, batch: Any, inputs: str | int) -> np.ndarray:
    """The images of a batch.

    Args:
        where: how a message begins.
        batch: the batch.
        inputs: the entry that holds them, or its place in a tuple.

    Raises:
        ValueError: if there is none, or they are photos on canvases.
    """
    if isinstance(batch, Mapping) and on_canvas(batch):
        raise ValueError(
            f"{where}: images must fill their arrays; got photos on canvases (the batch has an"
            " entry 'size'). Pass the `prepare` of the loop, such as source.spec.prepare."
        )
    return np.asarray(entry(where, batch, inputs, "Name it by `inputs`", place=0))


def counted_rows(batch: Any) -> Any:
    """Which rows of a batch count, in order: those that only fill it up have the weight 0.

    Args:
        batch: a batch that has labels or images.
    """
    if not has_weights(batch):
        return slice(None)
    return np.flatnonzero(np.asarray(batch["weight"]) != 0)


def _of_dataset(dataset: Dataset, split: str) -> Iterable[Any]:
    """The batches of a data set, as they lie in memory."""
    if split == "valid":
        return valid_batches(dataset, batch_size=BATCH)
    size = min(BATCH, len(dataset.train))
    return train_batches(dataset, batch_size=size, seed=0, epoch=0)
