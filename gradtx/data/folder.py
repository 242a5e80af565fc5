"""A tree of class folders, in Imagenette's layout."""

import os
from collections.abc import Sequence
from pathlib import Path

from gradtx.data.dataset import IMAGENET_MEAN, IMAGENET_STD, Dataset
from gradtx.data.errors import DataError
from gradtx.data.file_index import Indexed, combine, index_files
from gradtx.data.image_file import SUFFIXES, ImageError
from gradtx.data.photo_source import PhotoSource
from gradtx.files import as_path, printable
from gradtx.kinds import checked

VALID_NAMES = ("val", "valid", "validation")
REMEDY = "Replace or remove that file."


@checked
def folder(data_dir: str | Path, *, cache: str | Path | None = None) -> Dataset:
    """Read a data set from `data_dir`/train/<class>/<image> and `data_dir`/val/<class>/<image>.

    The validation folder may also be called valid or validation. The classes are the folders of
    train, sorted by name; one may be empty or absent in val. Files are images by their suffix
    (.jpg, .jpeg, .png, .webp, .gif, .bmp, .tif, .tiff, .ppm, .pgm, .pbm, .pnm in any case); other
    files and hidden ones are ignored. What becomes of each kind of image says
    `gradtx.data.image_file`; all are normalized by ImageNet's mean and standard deviation. Every
    file is read here once, for its header and for the fingerprint, and decoded when it is used.

    Args:
        data_dir: the directory of train and val; "~" is the home directory.
        cache: a directory in which the digests of the files are kept, so that only those that have
            changed are read the next time; None keeps nothing.

    Raises:
        DataError: if a folder is missing or cannot be read, a class has no training image, val has
            a class that train has not, there are fewer than two classes, or an image cannot be
            read.
    """
    root = as_path(data_dir)
    try:
        return read_tree(root, None if cache is None else as_path(cache))
    except OSError as error:
        raise DataError(
            f"folder: {printable(error.filename or root)} cannot be read ({error.strerror}). Name a"
            " directory that you may read."
        ) from error


def read_tree(root: Path, cache: Path | None) -> Dataset:
    """The data set of a tree."""
    if not root.is_dir():
        raise DataError(
            f"folder: there is no directory {printable(root)}. Name one with train/ and val/."
        )
    train_dir, valid_dir = find(root, ("train",)), find(root, VALID_NAMES)
    train = images_by_class(train_dir)
    valid = {name: paths for name, paths in images_by_class(valid_dir).items() if paths}
    check_classes(train_dir, train, valid_dir, valid)
    place = f"folder-{combine([os.fsencode(root.absolute())])}"
    store = None if cache is None else cache / "folders" / f"{place}.json"
    train_index, valid_index = index_splits((train, valid), store)
    return Dataset(
        name="folder",
        classes=tuple(map(printable, train)),
        train=source(train, list(train)),
        valid=source(valid, list(train)),
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        fingerprint=f"folder-{digest((train, train_index), (valid, valid_index))}",
        place=place,
        largest=max(image.short_side for image in train_index),
    )


def find(root: Path, names: tuple[str, ...]) -> Path:
    """The one directory of `names` in `root`."""
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) != 1:
        got = " and ".join(path.name for path in found) or "none"
        raise DataError(
            f"folder: {printable(root)} must have one directory {' or '.join(names)}; got {got}. "
            "Arrange it as train/<class>/<image> and val/<class>/<image>."
        )
    return found[0]


def images_by_class(split: Path) -> dict[str, list[Path]]:
    """The sorted image paths of each class folder, sorted by class."""
    names = sorted(d.name for d in split.iterdir() if d.is_dir() and not d.name.startswith("."))
    return {name: sorted(filter(is_image, (split / name).iterdir())) for name in names}


def is_image(path: Path) -> bool:
    """Whether `path` has an image's suffix and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def image_paths(paths: Sequence[str | Path]) -> list[Path]:
    """Files as they are named, and of folders all image files in them, at any depth, by name.

    Args:
        paths: files and folders.

    Raises:
        DataError: for a folder without an image.
    """
    found: list[Path] = []
    for path in map(as_path, paths):
        inside = sorted(filter(is_image, path.rglob("*"))) if path.is_dir() else [path]
        if not inside:
            raise DataError(
                f"predict: {printable(path)} must hold an image file; got none. Name another"
                f" folder; images end with {', '.join(sorted(SUFFIXES))}."
            )
        found += inside
    return found


def check_classes(
    train_dir: Path, train: dict[str, list[Path]], valid_dir: Path, valid: dict[str, list[Path]]
) -> None:
    """Raise an error unless there is something to learn, and to validate on."""
    if len(train) < 2:
        raise DataError(
            f"folder: {printable(train_dir)} must hold two class folders at least; got"
            f" {listed(train)}. Put each class's images into a folder of its own."
        )
    if empty := [name for name, paths in train.items() if not paths]:
        raise DataError(
            f"folder: {printable(train_dir / empty[0])} must hold an image at least; got none. "
            "Add images, or remove the folder."
        )
    if unknown := [name for name in valid if name not in train]:
        raise DataError(
            f"folder: each class of {printable(valid_dir)} must be in {printable(train_dir)}; got"
            f" {listed(unknown)}. Add images of it to train, or remove it."
        )
    if not valid:
        raise DataError(
            f"folder: {printable(valid_dir)} must hold class folders with images; got none. Add"
            " some."
        )


def listed(names: Sequence[str] | dict[str, list[Path]]) -> str:
    """The names in a row, or "none"."""
    return ", ".join(map(printable, names)) or "none"


def index_splits(
    splits: Sequence[dict[str, list[Path]]], store: Path | None
) -> list[list[Indexed]]:
    """What is in the files of each split, in the order of classes and names.

    Raises:
        DataError: naming the first file that is no image.
    """
    files = [[path for paths in split.values() for path in paths] for split in splits]
    together = [path for paths in files for path in paths]
    found = index_files(together, store=store)
    if bad := [
        (path, why)
        for path, why in zip(together, found, strict=True)
        if isinstance(why, ImageError)
    ]:
        path, why = bad[0]
        more = f" {len(bad) - 1} more cannot be read either." if len(bad) > 1 else ""
        raise DataError(f"folder: {printable(path)} cannot be read ({why}). {REMEDY}{more}")
    good = iter([image for image in found if isinstance(image, Indexed)])
    return [[next(good) for _ in paths] for paths in files]


def source(split: dict[str, list[Path]], classes: list[str]) -> PhotoSource:
    """The source of one split, in the order of classes and names."""
    label = {name: number for number, name in enumerate(classes)}
    records = [{"image": path, "label": label[name]} for name in split for path in split[name]]
    return PhotoSource(records, where="folder", remedy=REMEDY)


def digest(*splits: tuple[dict[str, list[Path]], list[Indexed]]) -> str:
    """16 hex digits of the sha256 of all class and file names and of what is in the files."""

    def parts():
        for split, index in splits:
            images = iter(index)
            for name, paths in split.items():
                yield os.fsencode(name)
                yield len(paths).to_bytes(8, "little")
                for path in paths:
                    yield os.fsencode(path.name)
                    yield next(images).digest.encode()

    return combine(parts())
