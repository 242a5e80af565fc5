"""Images from the user's own .npz file."""

import hashlib
from pathlib import Path

import numpy as np

from gradtx.data.array_source import ArraySource
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.data.npz import read_npz
from gradtx.files import as_path, printable
from gradtx.kinds import checked

KEYS = ("x_train", "y_train", "x_test", "y_test")
AT_ONCE = 2**20  # pixels


@checked
def arrays(path: str | Path) -> Dataset:
    """Read a data set from an .npz file of x_train, y_train, x_test and y_test.

    x: uint8[n, h, w] or uint8[n, h, w, c] with any number of channels; y: any integer [n], from 0.
    The number of classes is that of the training labels, and each class needs an image. `mean` and
    `std` are those of x_train.

    Args:
        path: the .npz file; nothing in it is ever unpickled, and nothing unpacked that is above
            the limit of `gradtx.data.npz`.

    Raises:
        DataError: if the file cannot be read, or an array is missing or not as above.
    """
    found = read_npz(as_path(path), KEYS)
    path = printable(path)
    for split in ("train", "test"):
        check_split(path, found, split)
    count = check_labels(path, found["y_train"], found["y_test"])
    train, valid = source(found, "train"), source(found, "test")
    if train.images.shape[1:] != valid.images.shape[1:]:
        raise DataError(
            f"arrays: the images of {path} must all have one shape; got {train.images.shape[1:]} "
            f"in x_train and {valid.images.shape[1:]} in x_test. Resize one of them."
        )
    mean, std = moments(train.images)
    return Dataset(
        name="arrays",
        classes=tuple(map(str, range(count))),
        train=train,
        valid=valid,
        channels=train.images.shape[-1],
        mean=mean,
        std=std,
        fingerprint=f"arrays-{digest(train, valid)}",
    )


def check_split(path: str, found: dict[str, np.ndarray], split: str) -> None:
    """Raise an error unless a split has images, and an integer for each."""
    x, y = found[f"x_{split}"], found[f"y_{split}"]
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise DataError(
            f"arrays: x_{split} of {path} must be uint8 [n, h, w] or [n, h, w, c]; got {x.dtype}"
            f" {list(x.shape)}. Convert it."
        )
    if 0 in x.shape:
        raise DataError(
            f"arrays: x_{split} of {path} has no images; got {list(x.shape)}. Add some."
        )
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DataError(
            f"arrays: y_{split} of {path} must be integers [{len(x)}], one per image; "
            f"got {y.dtype} {list(y.shape)}. Give class numbers from 0."
        )


def source(found: dict[str, np.ndarray], split: str) -> ArraySource:
    """The source of one split, with a channel axis and int32 labels."""
    x, y = found[f"x_{split}"], found[f"y_{split}"]
    return ArraySource(x if x.ndim == 4 else x[..., None], y.astype(np.int32))


def check_labels(path: str, train: np.ndarray, valid: np.ndarray) -> int:
    """The number of classes, all of which occur in `train`."""
    present = np.unique(train)
    count = len(present)
    if count < 2 or present[0] != 0 or present[-1] != count - 1:
        raise DataError(
            f"arrays: y_train of {path} must number its classes 0, 1, ... with no gap, and have "
            f"two at least; got {count} values from {present[0]} to {present[-1]}. Renumber them."
        )
    if valid.min() < 0 or valid.max() >= count:
        raise DataError(
            f"arrays: y_test of {path} must lie in 0..{count - 1}, the classes of y_train; "
            f"got {valid.min()} to {valid.max()}. Add those classes to y_train or drop them."
        )
    return count


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation of each channel of uint8[n, h, w, c], in [0, 1]."""
    levels, step = np.arange(256) / 255, max(1, AT_ONCE // images[0, ..., 0].size)
    mean, std = [], []
    for c in range(images.shape[-1]):
        # By the histogram, some images at a time: exact, and no large copy of the images.
        parts = (images[i : i + step, ..., c].ravel() for i in range(0, len(images), step))
        counts = sum(np.bincount(part, minlength=256) for part in parts)
        p = counts / images[..., c].size
        mean.append(float(p @ levels))
        std.append(float(np.sqrt(p @ (levels - mean[-1]) ** 2)))
    # A channel of one value is only centered.
    return tuple(mean), tuple(s if s > 0 else 1.0 for s in std)


def digest(train: ArraySource, valid: ArraySource) -> str:
    """16 hex digits of the sha256 of all shapes, images and labels."""
    total = hashlib.sha256()
    for array in (train.images, train.labels, valid.images, valid.labels):
        total.update(repr(array.shape).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:16]
