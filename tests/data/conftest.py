"""Small archives and trees of real JPEGs in Imagenette's layout."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gradtx.data.archive import Archive
from gradtx.data.imagenette import CLASSES, IMAGENETTE_160

TRAIN, VALID = 6, 3  # images per class


def jpeg(seed: int, size: tuple[int, int] = (213, 160), mode: str = "RGB") -> bytes:
    """Return a smooth random photo, encoded."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    out = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(out, "JPEG", quality=90)
    return out.getvalue()


def members() -> dict[str, bytes]:
    """Return the files of a small Imagenette by their names in the archive."""
    out = {}
    for c, wnid in enumerate(CLASSES):
        for i in range(TRAIN):
            size = (213, 160) if i % 2 else (160, 240)
            out[f"imagenette2-160/train/{wnid}/{wnid}_{i}.JPEG"] = jpeg(100 * c + i, size)
        for i in range(VALID):
            name = f"ILSVRC2012_val_{c:04d}{i:04d}.JPEG"
            out[f"imagenette2-160/val/{wnid}/{name}"] = jpeg(100 * c + 50 + i)
    return out


def write_archive(path: Path, files: dict[str, bytes | tarfile.TarInfo]) -> Archive:
    """Write a .tgz of files, or of bare headers such as links, and return its record."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return record(path)


def record(path: Path) -> Archive:
    """Return what an archive with the content of `path` must be; its URL is refused at once."""
    raw = path.read_bytes()
    return replace(
        IMAGENETTE_160,
        url="http://127.0.0.1:9/imagenette2-160.tgz",
        size=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        train=10 * TRAIN,
        valid=10 * VALID,
    )


@pytest.fixture(scope="session")
def layout() -> SimpleNamespace:
    """Return the helpers of this file."""
    return SimpleNamespace(jpeg=jpeg, members=members, write_archive=write_archive, record=record)


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory) -> tuple[Path, Archive]:
    """Return the path and record of a sound archive, not to be changed."""
    path = tmp_path_factory.mktemp("archive") / "imagenette2-160.tgz"
    return path, write_archive(path, members())


@pytest.fixture
def small_tree(tmp_path) -> Path:
    """Return a directory with train/ and val/, to be changed at will."""
    for name, content in members().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "imagenette2-160"
