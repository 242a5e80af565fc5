"""Images from the user's own .npz file."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gradtx.data.array_source import ArraySource
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def arrays(path: str | Path) -> Dataset:
    """Read a data set from an .npz file of x_train, y_train, x_test and y_test.

    x: uint8[n, h, w] or uint8[n, h, w, c] with 1 or 3 channels; y: any integer [n], from 0. The
    number of classes is that of the training labels, and each class needs an image. `mean` and
    `std` are those of x_train.

    Args:
        path: the .npz file; nothing in it is ever unpickled.

    Raises:
        DataError: if the file cannot be read, or an array is missing or not as above.
    """
    path = Path(path)
    found = read_npz(path)
    for key in KEYS:
        if key not in found:
            raise DataError(
                f"arrays: {path} must hold {', '.join(KEYS)}; it has no {key}. "
                "Write it with `np.savez_compressed`."
            )
    train, valid = (check_split(path, found, split) for split in ("train", "test"))
    if train.images.shape[1:] != valid.images.shape[1:]:
        raise DataError(
            f"arrays: the images of {path} must all have one shape; got {train.images.shape[1:]} "
            f"in x_train and {valid.images.shape[1:]} in x_test. Resize one of them."
        )
    count = check_labels(path, train.labels, valid.labels)
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


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file; nothing in it is ever unpickled."""
    if not path.is_file():
        raise DataError(f"arrays: there is no file {path}. Name an .npz file.")
    if not zipfile.is_zipfile(path):
        raise not_npz(path, "a file that is none, or only its beginning")
    # NumPy and its unpackers raise a mixture of errors on damaged files.
    try:
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
    except ValueError as error:  # NumPy would have its caller load pickles: not quoted
        raise not_npz(path, "one with Python objects in it, or damaged") from error
    except (EOFError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise not_npz(path, f"one that is damaged ({error})") from error
    if not all(isinstance(value, np.ndarray) for value in found.values()):
        raise not_npz(path, "one of other files than arrays")
    return found


def not_npz(path: Path, got: str) -> DataError:
    """The error that says so."""
    return DataError(
        f"arrays: {path} must be an .npz archive of the plain arrays {', '.join(KEYS)}; got {got}."
        " Write it with `np.savez_compressed`."
    )


def check_split(path: Path, found: dict[str, np.ndarray], split: str) -> ArraySource:
    """The source of one split, with a channel axis and int32 labels."""
    x, y = found[f"x_{split}"], found[f"y_{split}"]
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise DataError(
            f"arrays: x_{split} of {path} must be uint8 [n, h, w] or [n, h, w, c] with 1 or 3 "
            f"channels; got {x.dtype} {list(x.shape)}. Convert it."
        )
    if 0 in x.shape:
        raise DataError(f"arrays: x_{split} of {path} has no images; got {list(x.shape)}.")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DataError(
            f"arrays: y_{split} of {path} must be integers [{len(x)}], one per image; "
            f"got {y.dtype} {list(y.shape)}. Give class numbers from 0."
        )
    return ArraySource(x if x.ndim == 4 else x[..., None], y.astype(np.int32))


def check_labels(path: Path, train: np.ndarray, valid: np.ndarray) -> int:
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
    levels = np.arange(256) / 255
    mean, std = [], []
    for c in range(images.shape[-1]):
        # By the histogram: exact, and no float copy of the images.
        p = np.bincount(images[..., c].ravel(), minlength=256) / images[..., c].size
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
