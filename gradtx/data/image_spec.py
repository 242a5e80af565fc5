"""What a model must know of the images it was trained on, and other images made like them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradtx.augment import Augmentation, Prepare
from gradtx.data.canvas import canvas_side, draw_canvas
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.data.image_file import ImageError, open_image
from gradtx.files import as_path, printable
from gradtx.kinds import checked
from gradtx.sealed import Damaged, read_json, write_json

REMEDY = "Name image files."
NONE = Augmentation("none")


@dataclass(frozen=True)
class ImageSpec:
    """A data set without its images: enough to prepare an image for a model trained on it.

    Args:
        name: of the data set.
        fingerprint: names the data set's content; equal fingerprints mean equal data.
        classes: the names of the classes, by label.
        channels: 1 for gray images, 3 for RGB, of arrays any number.
        mean: of each channel, of images in [0, 1].
        std: the standard deviation of each channel, of images in [0, 1].
        size: the side in pixels that the model gets.
        photos: whether images are cropped to the square in their center, as photos are, or squeezed
            into it, as arrays are.
        canvas: of photos, the side of the canvas that they are drawn on first; None, as in files of
            older versions: that of large photos.
        augmentation: what training images undergo.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    photos: bool
    canvas: int | None = None
    augmentation: Augmentation = NONE

    @classmethod
    def of(cls, dataset: Dataset, *, size: int, augmentation: Augmentation = NONE) -> "ImageSpec":
        """The description of a data set whose images a model gets at `size`.

        Args:
            dataset: the data set that the model is trained on.
            size: the side in pixels that the model gets.
            augmentation: what training images undergo.
        """
        shared = {f.name: getattr(dataset, f.name) for f in fields(cls) if hasattr(dataset, f.name)}
        return cls(**shared, size=size, augmentation=augmentation)

    @property
    def prepare(self) -> Prepare:
        """What is done to a batch, as `gradtx.loop.Loop(prepare=...)` takes it."""
        return self.augmentation.prepare(
            size=self.size,
            mean=self.mean,
            std=self.std,
            photos=self.photos,
            classes=len(self.classes),
        )

    @property
    def example(self) -> np.ndarray:
        """An image as the model gets it, zeros: float32[1, size, size, channels]."""
        return np.zeros((1, self.size, self.size, self.channels), np.float32)

    def write(self, path: str | Path) -> None:
        """Write it as a JSON object with a digest, whole or not at all.

        Args:
            path: the file.

        Raises:
            OSError: if it cannot be written.
        """
        write_json(as_path(path), asdict(self))

    @classmethod
    def read(cls, path: str | Path) -> "ImageSpec":
        """Read what `write` has written.

        Args:
            path: the file.

        Raises:
            DataError: if it is not there, something else, or was altered.
        """
        try:
            found = read_json(as_path(path))
            found = {"canvas": None, "augmentation": NONE.entries} | found
            if problem := _problem(found):
                raise Damaged(problem)
        except Damaged as error:
            raise DataError(
                f"predict: {path} must be what a run on images wrote of them; got {error}. Put it"
                " back as it was, or name the directory of such a run."
            ) from error
        found |= {name: tuple(found[name]) for name in ("classes", "mean", "std")}
        found["augmentation"] = Augmentation(**found["augmentation"])
        return cls(**found)


def _problem(found: dict[str, Any]) -> str:
    """What is wrong with the entries of a description; "" if nothing is."""
    names = {field.name for field in fields(ImageSpec)}
    if found.keys() != names:
        return f"other entries ({', '.join(sorted(found.keys() ^ names))})"
    number = lambda x: isinstance(x, int | float) and abs(x) < math.inf
    text = lambda x: isinstance(x, str)
    all_of = lambda x, holds: isinstance(x, list) and len(x) > 0 and all(map(holds, x))
    numbers = lambda x: all_of(x, number) and len(x) == found["channels"]
    right = {
        "name": text,
        "fingerprint": text,
        "classes": lambda x: all_of(x, text),
        "channels": lambda x: type(x) is int and x > 0,
        "mean": numbers,
        "std": lambda x: numbers(x) and all(value > 0 for value in x),
        "size": lambda x: type(x) is int and 0 < x < 2**14,
        "photos": lambda x: isinstance(x, bool),
        "augmentation": _is_augmentation,
        "canvas": lambda x: x is None or (type(x) is int and 0 < x < 2**14),
    }
    wrong = [name for name, holds in right.items() if not holds(found[name])]
    return f"a value of {wrong[0]} that none can have" if wrong else ""


def _is_augmentation(entries: Any) -> bool:
    try:
        Augmentation(**entries)
    except (TypeError, ValueError):
        return False
    return True


@checked
def read_images(paths: Sequence[str | Path], spec: ImageSpec) -> np.ndarray:
    """Image files as float32[n, size, size, channels], prepared as for validation.

        out = spec.prepare(read_rows(path, spec), None)

    Images of any mode become RGB, or gray where the model was trained on gray images.

    Args:
        paths: image files of any size, one at least.
        spec: what the model was trained on.

    Raises:
        DataError: naming the first file that cannot be read.
    """
    prepare = jax.jit(lambda batch: spec.prepare(batch, None)["image"])
    return np.concatenate([np.asarray(prepare(read_rows(path, spec))) for path in paths])


@checked
def read_rows(path: str | Path, spec: ImageSpec) -> dict[str, np.ndarray]:
    """An image file as `Source.rows` gives it, a batch of one, without a label.

    Photos on the canvas have `image` uint8[1, c, W, 3] and `size` int32[1, 2]; others `image`
    uint8[1, h, w, channels].

    Args:
        path: the file.
        spec: what the model was trained on.

    Raises:
        DataError: naming the file, if it cannot be read; for a model of images of other than 1 or 3
            channels.
    """
    if spec.channels not in (1, 3):
        raise DataError(
            f"predict: a model must be of images of 1 or 3 channels to be asked about image files;"
            f" got one of {spec.channels}. Ask it about arrays, in code."
        )
    try:
        photo = open_image(as_path(path)).decode("L" if spec.channels == 1 else "RGB")
    except ImageError as error:
        what = f"predict: {printable(path)} cannot be read ({error}). {REMEDY}"
        raise DataError(what) from error
    if not spec.photos:
        shape = (1, photo.height, photo.width, spec.channels)
        return {"image": np.asarray(photo).reshape(shape)}
    side = spec.canvas or canvas_side(spec.size, scale=0.35, largest=2 * spec.size)
    image, size = draw_canvas(photo, side)
    return {"image": image[None], "size": np.array([size], np.int32)}
