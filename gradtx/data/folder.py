"""A tree of class folders, in Imagenette's layout."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradtx.data.dataset import IMAGENET_MEAN, IMAGENET_STD, Dataset
from gradtx.data.errors import DataError
from gradtx.data.photo_source import PhotoSource, check_header

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
VALID_NAMES = ("val", "valid", "validation")
REMEDY = "Replace or remove that file."


def folder(data_dir: str | Path) -> Dataset:
    """Read a data set from `data_dir`/train/<class>/<image> and `data_dir`/val/<class>/<image>.

    The validation folder may also be called valid or validation. The classes are the folders of
    train, sorted by name. Files are images by their suffix (.jpg, .jpeg, .png, .bmp, .gif, .webp,
    .tif, .tiff in any case); other files and hidden ones are ignored. Images of any mode become
    RGB (transparency is dropped) and are normalized by ImageNet's mean and standard deviation.
    Every image's header is checked here, and the rest when it is first read.

    Args:
        data_dir: the directory of train and val; "~" is the home directory.

    Raises:
        DataError: if a folder is missing, a class has no image, val has a class that train has
            not, there are fewer than two classes, or an image cannot be read.
    """
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise DataError(f"folder: there is no directory {root}. Name one with train/ and val/.")
    train_dir, valid_dir = find(root, ("train",)), find(root, VALID_NAMES)
    train, valid = images_by_class(train_dir), images_by_class(valid_dir)
    if len(train) < 2:
        raise DataError(
            f"folder: {train_dir} must hold two class folders at least; got "
            f"{', '.join(train) or 'none'}. Put each class's images into a folder of its own."
        )
    if unknown := sorted(set(valid) - set(train)):
        raise DataError(
            f"folder: each class of {valid_dir} must be in {train_dir}; got {', '.join(unknown)}. "
            "Add images of it to train, or remove it."
        )
    if not valid:
        raise DataError(f"folder: {valid_dir} must hold class folders; got none. Add some.")
    check_images([path for split in (train, valid) for paths in split.values() for path in paths])
    classes = tuple(train)
    return Dataset(
        name="folder",
        classes=classes,
        train=source(train, classes),
        valid=source(valid, classes),
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        fingerprint=f"folder-{digest(train, valid)}",
    )


def find(root: Path, names: tuple[str, ...]) -> Path:
    """The one directory of `names` in `root`."""
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) != 1:
        got = " and ".join(path.name for path in found) or "none"
        raise DataError(
            f"folder: {root} must have one directory {' or '.join(names)}; got {got}. "
            "Arrange it as train/<class>/<image> and val/<class>/<image>."
        )
    return found[0]


def images_by_class(split: Path) -> dict[str, list[Path]]:
    """The sorted image paths of each class folder, sorted by class."""
    names = sorted(d.name for d in split.iterdir() if d.is_dir() and not d.name.startswith("."))
    found = {name: sorted(filter(is_image, (split / name).iterdir())) for name in names}
    for name, paths in found.items():
        if not paths:
            raise DataError(
                f"folder: {split / name} must hold an image at least; got none. "
                "Add images, or remove the folder."
            )
    return found


def is_image(path: Path) -> bool:
    """Whether `path` has an image's suffix and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def check_images(paths: list[Path]) -> None:
    """Raise an error that names the first file whose header is not an image's."""
    with ThreadPoolExecutor(8) as pool:
        bad = [(p, why) for p, why in zip(paths, pool.map(check_header, paths), strict=True) if why]
    if bad:
        path, why = bad[0]
        more = f" {len(bad) - 1} more cannot be read either." if len(bad) > 1 else ""
        raise DataError(f"folder: {path} cannot be read ({why}). {REMEDY}{more}")


def source(split: dict[str, list[Path]], classes: tuple[str, ...]) -> PhotoSource:
    """The source of one split, in the order of classes and names."""
    records = [
        {"image": path, "label": classes.index(name)} for name in split for path in split[name]
    ]
    return PhotoSource(records, where="folder", remedy=REMEDY)


def digest(*splits: dict[str, list[Path]]) -> str:
    """16 hex digits of the sha256 of all class and file names and file sizes."""
    total = hashlib.sha256()
    for split in splits:
        for name, paths in split.items():
            total.update(repr((name, [(p.name, p.stat().st_size) for p in paths])).encode())
    return total.hexdigest()[:16]
