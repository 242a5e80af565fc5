"""The probabilities that a trained model gives the validation images, kept in one file."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.files import as_path, write_atomically
from gradtx.kinds import checked

WORST = 12


@dataclass(frozen=True)
class Validation:
    """What a model says of n validation images in C classes, and the images it gets most wrong.

    Images that could not be read are left out.

    Args:
        labels: int32[n], the class of each image.
        probabilities: float32[n, C], of each class for each image.
        worst: int32[k], which images have the least probability for their class, the least first.
        images: uint8[k, h, w, 1 or 3], the worst ones; of other channels the first are shown.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    worst: np.ndarray
    images: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, -1 where one is NaN: int[n]."""
        unknown = np.isnan(self.probabilities).any(axis=1)
        return np.where(unknown, -1, self.probabilities.argmax(axis=1))

    def confusion(self) -> np.ndarray:
        """How many images of a class (row) are predicted as another (column): int[C, C].

        If probabilities of some images are NaN, a further column at the end counts these.
        """
        count, predicted = self.probabilities.shape[1], self.predicted
        columns = count + bool((predicted < 0).any())
        pairs = columns * self.labels + predicted % columns  # -1 is the last column
        return np.bincount(pairs, minlength=count * columns).reshape(count, columns)


@checked
def validate(
    predict: Callable[[Mapping[str, Any]], Any],
    batches: Iterable[Mapping[str, np.ndarray]],
    *,
    mean: Iterable[float],
    std: Iterable[float],
    worst: int = WORST,
) -> Validation:
    """Predict each image of `batches` once, rows of weight 0 left out.

        worst = the first of argsort(probabilities[i, labels[i]])

    Only the worst images so far are held in memory.

    Args:
        predict: a function from a batch to probabilities, float[b, C].
        batches: dicts of "image", float32[b, h, w, c], which are (pixel / 255 - mean) / std,
            "label", int[b], and "weight", float[b].
        mean: of each channel.
        std: of each channel.
        worst: how many of the worst images to keep.
    """
    labels, probabilities = [], []
    found: list[tuple[float, int, np.ndarray]] = []
    for batch in batches:
        rows = np.asarray(batch["weight"]) > 0
        first = sum(map(len, labels))
        labels.append(np.asarray(batch["label"])[rows])
        probabilities.append(np.asarray(predict(batch), np.float32)[rows])
        own = probabilities[-1][np.arange(len(labels[-1])), labels[-1]]
        images = np.asarray(batch["image"])[rows]
        found += [(float(p), first + i, images[i]) for i, p in enumerate(own)]
        # NaN sorts as the worst of all.
        found = sorted(found, key=lambda item: (-1.0 if np.isnan(item[0]) else item[0], item[1]))
        found = found[:worst]
    mean, std = (np.array(list(x), np.float32) for x in (mean, std))
    levels = [np.clip(np.rint(255 * (x * std + mean)), 0, 255).astype(np.uint8) for *_, x in found]
    pixels = [x[..., : 3 if x.shape[-1] >= 3 else 1] for x in levels]  # what can be shown
    return Validation(
        np.concatenate(labels).astype(np.int32),
        np.concatenate(probabilities),
        np.array([index for _, index, _ in found], np.int32),
        np.stack(pixels) if pixels else np.zeros((0, 1, 1, 1), np.uint8),
    )


@checked
def write_validation(validation: Validation, path: str | Path) -> None:
    """Write it as an .npz file with a digest, whole or not at all.

    Args:
        validation: what `validate` has returned.
        path: the file.

    Raises:
        OSError: if it cannot be written.
    """
    data = BytesIO()
    arrays = {field.name: getattr(validation, field.name) for field in fields(validation)}
    np.savez_compressed(data, **arrays, digest=_digest(arrays))
    write_atomically(path, data.getvalue())


@checked
def read_validation(path: str | Path) -> Validation:
    """Read what `write_validation` has written.

    Args:
        path: the file.

    Raises:
        ValueError: if it is something else, or damaged.
    """
    try:
        path = as_path(path)
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = {field.name: file[field.name] for field in fields(Validation)}
            saved = file["digest"] if "digest" in file.files else None
    # zipfile, zlib and NumPy raise errors of many kinds on damaged files, and what these say tells
    # their own caller what to do, not ours.
    except Exception as error:
        raise _damaged(path, type(error).__name__) from error
    if not _fit_together(**found):
        raise _damaged(path, "arrays that do not fit together")
    if saved is not None and not np.array_equal(saved, _digest(found)):
        raise _damaged(path, "one that was altered")
    return Validation(**found)


def _fit_together(
    labels: np.ndarray, probabilities: np.ndarray, worst: np.ndarray, images: np.ndarray
) -> bool:
    arrays = (labels, probabilities, worst, images)
    if [(x.dtype.kind, x.ndim) for x in arrays] != [("i", 1), ("f", 2), ("i", 1), ("u", 4)]:
        return False
    inside = lambda x, count: not x.size or (x.min() >= 0 and x.max() < count)
    return (
        len(labels) == len(probabilities)
        and len(worst) == len(images)
        and images.dtype == np.uint8
        and images.shape[3] in (1, 3)
        and inside(labels, probabilities.shape[1])
        and inside(worst, len(labels))
    )


def _digest(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """blake2b of the names, the kinds and the bytes of arrays: uint8[16]."""
    hashed = hashlib.blake2b(digest_size=16)
    for name, array in arrays.items():
        hashed.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return np.frombuffer(hashed.digest(), np.uint8)


def _damaged(path: str | Path, found: str) -> ValueError:
    return ValueError(
        f"report: {path} must be what a run wrote; got {found}. Remove it, and the report goes"
        " without."
    )
