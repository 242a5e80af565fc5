"""What a model must know of the images it was trained on, and other images made like them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from gradtx.data.array_source import ArraySource
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.data.photo_source import PhotoSource, reason
from gradtx.data.pipeline import reader
from gradtx.files import write_atomically


@dataclass(frozen=True)
class ImageSpec:
    """A data set without its images: enough to prepare an image for a model trained on it.

    `size` is the side in pixels that the model gets. `photos` tells whether images are cropped to
    the square in their center, as photos are, or squeezed into it, as arrays are.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    photos: bool

    @classmethod
    def of(cls, dataset: Dataset, *, size: int) -> "ImageSpec":
        """Return the facts of a data set whose images a model gets at `size`."""
        shared = {f.name: getattr(dataset, f.name) for f in fields(cls) if hasattr(dataset, f.name)}
        return cls(**shared, size=size, photos=isinstance(dataset.valid, PhotoSource))

    def write(self, path: str | Path) -> None:
        """Write them as a JSON object, in one go."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "ImageSpec":
        """Read what `write` has written.

        Raises:
            DataError: if it is not there, or something else.
        """
        try:
            found = json.loads(Path(path).read_text())
            lists = ("classes", "mean", "std")
            return cls(**found | {name: tuple(found[name]) for name in lists})
        except (OSError, ValueError, TypeError, KeyError) as error:
            got = "none" if isinstance(error, FileNotFoundError) else "something else"
            raise DataError(
                f"predict: {path} must be what a run on images wrote of them; got {got}. Name the"
                " directory of such a run."
            ) from error


def read_images(paths: Sequence[str | Path], facts: ImageSpec) -> np.ndarray:
    """Return image files as float32[n, size, size, channels], prepared as for validation.

    Images of any mode become RGB, or gray where the model was trained on gray images.

    Raises:
        DataError: naming the first file that cannot be read.
    """
    return np.concatenate([_read(Path(path), facts) for path in paths])


def _read(path: Path, facts: ImageSpec) -> np.ndarray:
    mode = "L" if facts.channels == 1 else "RGB"
    # Decoders raise errors of many kinds on damaged files.
    try:
        with Image.open(path) as file:
            pixels = np.asarray(file.convert(mode)).reshape(file.height, file.width, facts.channels)
    except Exception as error:
        raise DataError(
            f"predict: {path} cannot be read ({reason(error)}). Name image files."
        ) from error
    if facts.photos:
        source = PhotoSource([{"image": path, "label": 0}], where="predict", remedy="Replace it.")
    else:
        source = ArraySource(pixels[None], np.zeros(1, np.int32))
    shared = {f.name: getattr(facts, f.name) for f in fields(Dataset) if hasattr(facts, f.name)}
    dataset = Dataset(**shared, train=source, valid=source)
    return reader(dataset, "valid", size=facts.size)(np.zeros(1, int), np.ones(1, np.float32))[
        "image"
    ]
