"""Imagenette through TensorFlow Datasets, without TensorFlow.

The stock builder is subclassed: its name, configuration, version and features stay, so what is
prepared here can be read by `tfds.data_source("imagenette/160px-v2")` too; only the two steps that
need TensorFlow (unpacking the archive and listing its files) are replaced by reading the archive
as a stream.
"""

import contextlib
import gzip
import io
import logging
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradtx.data.archive import Archive, check_archive, download, find_archive
from gradtx.data.dataset import IMAGENET_MEAN, IMAGENET_STD, Dataset
from gradtx.data.errors import DataError
from gradtx.data.exclusive import exclusive
from gradtx.data.image_file import ImageError, open_image, reason
from gradtx.data.photo_source import PhotoSource
from gradtx.files import CACHE, as_path, printable
from gradtx.kinds import checked

IMAGENETTE_160 = Archive(
    url="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
    size=99003388,
    sha256="64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",
    train=9469,
    valid=3925,
)
CONFIG = "160px-v2"
ROOT = "imagenette2-160"  # the archive's directory
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
UNFINISHED = ".imagenette-unfinished-"


@checked
def imagenette(
    data_dir: str | Path | None = None,
    *,
    archive: str | Path | None = None,
    expected: Archive = IMAGENETTE_160,
    timeout: float = 5.0,
) -> Dataset:
    """Imagenette (160 px, version 2): 9,469 training and 3,925 validation photos.

    The first of these is used: what was prepared in `data_dir` before; the archive at `archive`;
    imagenette2-160.tgz in `data_dir`; a download. An archive is used only if its size and sha256
    are the `expected` ones. Preparation happens in a directory of another name, so that an
    interrupted one leaves nothing that looks prepared, and its remains go at the next start.

    Args:
        data_dir: where it is prepared; by default ~/.cache/gradtx.
        archive: the file imagenette2-160.tgz, or its directory.
        expected: the record of the archive; another than the default is for tests.
        timeout: how long to wait for the server's answer, in seconds.

    Raises:
        DataError: if there is no archive, or it or the prepared data is damaged.
    """
    data_dir = as_path(data_dir or CACHE).absolute()
    given = None if archive is None else as_path(archive).absolute()
    prepared = data_dir / "imagenette" / CONFIG / "1.0.0"
    if "**" in str(data_dir) or any("\ud800" <= letter <= "\udfff" for letter in str(data_dir)):
        raise DataError(
            "imagenette: `data_dir` must be a path of UTF-8 without `**`, since TensorFlow Datasets"
            f" takes no other; got {printable(data_dir)}. Name another with `--data-dir`."
        )
    try:
        if given is not None:
            find_archive(expected, given=given, data_dir=data_dir)  # a wrong path is never ignored
        if not prepared.exists():
            prepare_once(prepared, data_dir=data_dir, given=given, expected=expected, wait=timeout)
    except OSError as error:
        raise DataError(
            f"imagenette: {printable(data_dir)} must be a directory that can be written, and an"
            f" archive a file that can be read; got {error.strerror or error}"
            f" ({printable(error.filename or '')}). Name another directory with `--data-dir`, or"
            " another file with `--archive`."
        ) from error
    train, valid = read_prepared(prepared, expected)
    return Dataset(
        name="imagenette",
        classes=tuple(CLASSES.values()),
        train=train,
        valid=valid,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        fingerprint=f"imagenette-{CONFIG}-{expected.sha256[:16]}",
        largest=expected.short_side,
        place=f"imagenette-{CONFIG}",
    )


def prepare_once(
    prepared: Path, *, data_dir: Path, given: Path | None, expected: Archive, wait: float
) -> None:
    """Find or download the archive, check it and prepare it, unless another process just has."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with exclusive(data_dir / ".imagenette.lock"):
        remove_remains(data_dir)
        if prepared.exists():
            return
        path = find_archive(expected, given=given, data_dir=data_dir)
        path = path or download(expected, data_dir=data_dir, timeout=wait)
        check_archive(path, expected)
        prepare(path, prepared, expected=expected, data_dir=data_dir)


def remove_remains(data_dir: Path) -> None:
    """Remove what a killed process left; to be called under `exclusive`."""
    for path in data_dir.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path)


def import_tfds():
    """TensorFlow Datasets, quiet."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"gradtx.data.imagenette needs {error.name}. "
            "Install it with `pip install 'gradtx[data]'`.",
            name=error.name,
        ) from error
    tfds.disable_progress_bar()
    return tfds


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what TensorFlow Datasets prints and logs about the normal course of things."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def prepare(path: Path, prepared: Path, *, expected: Archive, data_dir: Path) -> None:
    """Turn the checked archive at `path` into the directory `prepared`, all of it or nothing."""
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=UNFINISHED) as unfinished, quiet():
        tfds = import_tfds()
        builder = builder_class(tfds, path)(
            config=CONFIG, data_dir=unfinished, file_format="array_record"
        )
        try:
            builder.download_and_prepare(
                download_dir=os.path.join(unfinished, "downloads"),
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, AssertionError) as error:
            # TFDS asserts that each split has an example.
            raise DataError(
                f"imagenette: {path} must be a .tgz with images of both splits; got:"
                f" {reason(error)} Remove it and download {expected.url} again."
            ) from error
        counts = tuple(builder.info.splits[s].num_examples for s in ("train", "validation"))
        if counts != (expected.train, expected.valid):
            raise DataError(
                f"imagenette: {path} must hold {expected.train} training and {expected.valid} "
                f"validation images; got {counts[0]} and {counts[1]}. Use the original archive, "
                f"{expected.url}."
            )
        prepared.parent.mkdir(parents=True, exist_ok=True)
        os.rename(builder.data_path, prepared)


def builder_class(tfds, path: Path):
    """The stock builder's class, reading the archive at `path` as a stream."""
    stock: Any = tfds.builder_cls("imagenette")

    class Builder(stock, skip_registration=True):  # pyright: ignore
        name = "imagenette"  # not this class's name
        url_infos = stock.url_infos  # not looked up beside this module

        def _split_generators(self, dl_manager):
            return {
                "train": self._generate_examples("train"),
                "validation": self._generate_examples("val"),
            }

        def _generate_examples(self, datapath):
            yield from read_members(path, datapath)

    return Builder


def read_members(path: Path, split: str) -> Iterator[tuple[str, dict]]:
    """Yield (file name, example) for each image of one split of the archive.

    Nothing is ever unpacked: only regular files named imagenette2-160/<split>/<class>/<x>.JPEG
    are read, so links and paths that lead elsewhere are harmless.
    """
    with tarfile.open(path) as tar:
        for member in tar:
            parts = member.name.split("/")  # root, split, class, file
            if not (member.isfile() and parts[:-2] == [ROOT, split]):
                continue
            if parts[2] in CLASSES and parts[3].endswith(".JPEG"):
                file_object: Any = tar.extractfile(member)  # a file: not None
                image = file_object.read()
                try:
                    open_image(image)
                except ImageError as error:
                    raise DataError(
                        f"imagenette: {member.name} in {path} cannot be read ({error}). "
                        "Use the original archive."
                    ) from error
                yield parts[3], {"image": io.BytesIO(image), "label": parts[2]}


def read_prepared(prepared: Path, expected: Archive) -> tuple[PhotoSource, PhotoSource]:
    """The training and validation sources of a prepared directory."""
    remedy = f"Remove {prepared} and prepare it again."
    tfds = import_tfds()
    # TFDS and array_record raise errors of many kinds on damaged or foreign directories.
    try:
        with quiet():
            records: Any = tfds.builder_from_directory(prepared).as_data_source(
                decoders={"image": tfds.decode.SkipDecoding()}
            )
            train, valid = records["train"], records["validation"]
            _ = train[0], train[len(train) - 1], valid[0], valid[len(valid) - 1]
    except Exception as error:
        message = f"imagenette: {prepared} cannot be read ({reason(error)}). {remedy}"
        raise DataError(message) from error
    if (len(train), len(valid)) != (expected.train, expected.valid):
        raise DataError(
            f"imagenette: {prepared} must hold {expected.train} training and {expected.valid} "
            f"validation images; got {len(train)} and {len(valid)}. {remedy}"
        )
    photos = lambda records: PhotoSource(records, where="imagenette", remedy=remedy)
    return photos(train), photos(valid)
