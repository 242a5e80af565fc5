"""Imagenette's preparation, on small archives in the real layout, and each way it can go wrong."""

import contextlib
import hashlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradtx.data import (
    DataError,
    imagenette,
    load,
    on_canvas,
    train_batches,
    valid_batches,
)
from gradtx.data.imagenette import CLASSES, IMAGENETTE_160, UNFINISHED

PREPARED = Path("imagenette/160px-v2/1.0.0")


# Prepare, but wait after the images of each split have been read.
SLOW = """
import sys, time
from gradtx.data.archive import Archive
import gradtx.data
m = sys.modules["gradtx.data.imagenette"]
data_dir, archive, size, sha256, pause = sys.argv[1:]
real = m.read_members
def slow(path, split):
    yield from real(path, split)
    time.sleep(float(pause))
m.read_members = slow
m.imagenette(data_dir, archive=archive, expected=Archive(
    url="http://127.0.0.1:9/imagenette2-160.tgz", size=int(size), sha256=sha256,
    train=60, valid=30))
"""
ROOT = Path(__file__).parents[2]


def leftovers(data_dir: Path) -> set[str]:
    """Return what is in `data_dir` beside the lock file."""
    return {str(p.relative_to(data_dir)) for p in data_dir.rglob("*")} - {".imagenette.lock"}


def test_the_archive_becomes_a_data_set_with_the_same_images(tmp_path, small_archive, layout):
    path, expected = small_archive
    dataset = imagenette(tmp_path, archive=path, expected=expected)
    assert (len(dataset.train), len(dataset.valid)) == (60, 30)
    assert dataset.classes[0] == "tench" and len(dataset.classes) == 10
    for source, split in ((dataset.train, "train"), (dataset.valid, "val")):
        got = sorted((r["label"], r["image"]) for r in (source[i] for i in range(len(source))))
        want = sorted(
            (list(CLASSES).index(name.split("/")[2]), content)
            for name, content in layout.members().items()
            if name.split("/")[1] == split
        )
        assert got == want
    assert "tensorflow" not in sys.modules


def test_prepared_once_it_needs_no_archive(tmp_path, small_archive):
    path, expected = small_archive
    first = imagenette(tmp_path, archive=path, expected=expected)
    again = imagenette(tmp_path, expected=expected)
    assert again.fingerprint == first.fingerprint == f"imagenette-160px-v2-{expected.sha256[:16]}"
    assert {p.split("/")[0] for p in leftovers(tmp_path)} == {"imagenette"}


@pytest.mark.parametrize("place", [".", "downloads", "downloads/manual"])
def test_an_archive_in_the_data_directory_is_found(tmp_path, small_archive, place):
    path, expected = small_archive
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(path, tmp_path / place)
    assert len(imagenette(tmp_path, expected=expected).train) == 60


def test_the_prepared_directory_is_what_stock_tfds_reads(tmp_path, small_archive):
    path, expected = small_archive
    dataset = imagenette(tmp_path, archive=path, expected=expected)
    import tensorflow_datasets as tfds

    stock = tfds.data_source("imagenette/160px-v2", data_dir=tmp_path, download=False)
    assert len(stock["train"]) == 60
    want = Image.open(BytesIO(dataset.train[7]["image"]))
    np.testing.assert_array_equal(stock["train"][7]["image"], np.asarray(want))
    assert stock["train"][7]["label"] == dataset.train[7]["label"]


def test_batches_of_photos_are_deterministic_and_resume(tmp_path, small_archive):
    path, expected = small_archive
    dataset = on_canvas(imagenette(tmp_path, archive=path, expected=expected), size=32)
    options = {"batch_size": 8, "seed": 1, "epoch": 4}
    whole = [b["image"].tobytes() for b in train_batches(dataset, **options)]
    rest = [b["image"].tobytes() for b in train_batches(dataset, start=3, **options)]
    assert len(whole) == 7 and rest == whole[3:]
    assert sum(b["weight"].sum() for b in valid_batches(dataset, batch_size=8)) == 30


def truncated(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flipped(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda raw: b"", lambda raw: b"x" * 2000])
@pytest.mark.parametrize("given", [True, False])
def test_a_damaged_archive_is_refused(tmp_path, small_archive, damage, given):
    path, expected = small_archive
    data_dir = tmp_path / "data"
    bad = (tmp_path if given else data_dir) / "imagenette2-160.tgz"
    bad.parent.mkdir(exist_ok=True)
    bad.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"is damaged, incomplete or another.*Remove it") as error:
        imagenette(data_dir, archive=bad if given else None, expected=expected)
    assert str(bad) in str(error.value) and expected.sha256[:8] in str(error.value)
    assert leftovers(data_dir) == (set() if given else {"imagenette2-160.tgz"})


@pytest.mark.parametrize("damage", [truncated, lambda raw: b"x" * 2000])
def test_an_archive_that_is_no_archive_is_named_though_its_record_agrees(
    tmp_path, small_archive, layout, damage
):
    bad = tmp_path / "imagenette2-160.tgz"
    bad.write_bytes(damage(small_archive[0].read_bytes()))
    with pytest.raises(DataError, match=r"must be a .tgz with images of both splits") as error:
        imagenette(tmp_path / "data", archive=bad, expected=layout.record(bad))
    assert str(bad) in str(error.value) and "\n" not in str(error.value)
    assert leftovers(tmp_path / "data") == set()


def test_an_archive_without_validation_images(tmp_path, layout):
    files = {name: raw for name, raw in layout.members().items() if "/val/" not in name}
    expected = layout.write_archive(tmp_path / "imagenette2-160.tgz", files)
    with pytest.raises(DataError, match=r"images of both splits"):
        imagenette(tmp_path / "data", archive=tmp_path / "imagenette2-160.tgz", expected=expected)


def test_the_real_record_refuses_any_other_archive(tmp_path, small_archive):
    message = r"KiB .*expected 94\.4 MiB \(99003388 bytes\), 64d0c485"
    with pytest.raises(DataError, match=message):
        load("imagenette", data_dir=tmp_path, archive=small_archive[0])
    assert leftovers(tmp_path) == set()


def test_the_record_is_the_one_of_tensorflow_datasets():
    import tensorflow_datasets as tfds

    info = tfds.builder_cls("imagenette").url_infos[IMAGENETTE_160.url]
    assert (info.size, info.checksum) == (IMAGENETTE_160.size, IMAGENETTE_160.sha256)


@pytest.mark.parametrize("name", ["no.tgz", "."])
def test_a_given_archive_that_is_not_there(tmp_path, small_archive, name):
    data_dir = tmp_path / "data"
    imagenette(data_dir, archive=small_archive[0], expected=small_archive[1])
    # Not even when the data is prepared already.
    with pytest.raises(DataError, match=r"there is no archive .*\.tgz\. Give the path of"):
        imagenette(data_dir, archive=tmp_path / name, expected=small_archive[1])


def test_without_network_or_archive_the_error_comes_at_once(tmp_path, small_archive):
    with pytest.raises(DataError, match=r"cannot be downloaded .*refused.*--archive PATH") as error:
        imagenette(tmp_path, expected=small_archive[1])
    assert small_archive[1].url in str(error.value) and str(tmp_path) in str(error.value)
    assert leftovers(tmp_path) == set()


def test_a_server_that_never_answers_is_given_up(tmp_path, small_archive):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/imagenette2-160.tgz"
        with pytest.raises(DataError, match=r"no answer within 0\.2 s"):
            imagenette(tmp_path, expected=replace(small_archive[1], url=url), timeout=0.2)
    assert leftovers(tmp_path) == set()


@contextlib.contextmanager
def server(directory: Path):
    """Serve `directory` at the URL that this yields."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=directory)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}/imagenette2-160.tgz"
        finally:
            web.shutdown()
            thread.join()


def test_the_archive_is_downloaded_checked_and_kept(tmp_path, small_archive, layout):
    path, expected = small_archive
    with server(path.parent) as url:
        dataset = imagenette(tmp_path, expected=replace(expected, url=url))
    assert len(dataset.train) == 60
    assert {p.split("/")[0] for p in leftovers(tmp_path)} == {"imagenette", "imagenette2-160.tgz"}
    assert layout.record(tmp_path / "imagenette2-160.tgz").sha256 == expected.sha256


@pytest.mark.parametrize("damage", [truncated, flipped])
def test_a_damaged_download_leaves_nothing(tmp_path, small_archive, damage):
    path, expected = small_archive
    web = tmp_path / "web"
    web.mkdir()
    (web / path.name).write_bytes(damage(path.read_bytes()))
    with server(web) as url, pytest.raises(DataError, match="damaged, incomplete or another"):
        imagenette(tmp_path / "data", expected=replace(expected, url=url))
    assert leftovers(tmp_path / "data") == set()


def test_a_page_that_is_not_there(tmp_path, small_archive):
    web = tmp_path / "web"
    web.mkdir()
    with server(web) as url, pytest.raises(DataError, match=r"cannot be downloaded \(.*404"):
        imagenette(tmp_path / "data", expected=replace(small_archive[1], url=url))


def test_too_few_images(tmp_path, layout):
    files = layout.members()
    del files["imagenette2-160/train/n01440764/n01440764_0.JPEG"]
    path = tmp_path / "imagenette2-160.tgz"
    expected = layout.write_archive(path, files)
    message = r"must hold 60 training and 30 validation images; got 59 and 30"
    with pytest.raises(DataError, match=message):
        imagenette(tmp_path / "data", archive=path, expected=expected)
    assert leftovers(tmp_path / "data") == set()


def test_an_unreadable_image_in_the_archive(tmp_path, layout):
    name = "imagenette2-160/val/n03000684/ILSVRC2012_val_00030001.JPEG"
    path = tmp_path / "imagenette2-160.tgz"
    expected = layout.write_archive(path, layout.members() | {name: b"no image"})
    with pytest.raises(DataError, match=rf"{name} in {path} cannot be read \(not an image of"):
        imagenette(tmp_path / "data", archive=path, expected=expected)
    assert leftovers(tmp_path / "data") == set()


def test_links_and_paths_that_lead_elsewhere_are_not_followed(tmp_path, layout):
    secret = tmp_path / "secret.JPEG"
    secret.write_bytes(next(iter(layout.members().values())))
    root = "imagenette2-160/train/n01440764"
    link = tarfile.TarInfo(f"{root}/link.JPEG")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    hard = tarfile.TarInfo(f"{root}/hard.JPEG")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../../secret.JPEG"
    evil = secret.read_bytes()
    path = tmp_path / "imagenette2-160.tgz"
    expected = layout.write_archive(
        path,
        {
            "../escaped.JPEG": evil,
            "/tmp/gradtx-escaped.JPEG": evil,
            f"{root}/../../../../escaped.JPEG": evil,
            "imagenette2-160/train/../escaped.JPEG": evil,
            "imagenette2-160/train/n99999999/x.JPEG": evil,
            link.name: link,
            hard.name: hard,
            **layout.members(),
        },
    )
    before = set(tmp_path.rglob("*"))
    dataset = imagenette(tmp_path / "data", archive=path, expected=expected)
    assert len(dataset.train) == 60  # the regular ones alone
    new = {p for p in set(tmp_path.rglob("*")) - before if "data" not in p.parts}
    assert not new and not Path("/tmp/gradtx-escaped.JPEG").exists()


def shard(data_dir: Path) -> Path:
    return next((data_dir / PREPARED).glob("imagenette-train.array_record*"))


def test_a_truncated_prepared_file_is_noticed_at_the_start(tmp_path, small_archive):
    path, expected = small_archive
    imagenette(tmp_path, archive=path, expected=expected)
    damaged = shard(tmp_path)
    damaged.write_bytes(truncated(damaged.read_bytes()))
    with pytest.raises(DataError, match=rf"{tmp_path / PREPARED} cannot be read .*Remove"):
        imagenette(tmp_path, expected=expected)


def test_a_flipped_byte_in_a_prepared_file_is_noticed_when_read(tmp_path, small_archive):
    path, expected = small_archive
    imagenette(tmp_path, archive=path, expected=expected)
    damaged = shard(tmp_path)
    damaged.write_bytes(flipped(damaged.read_bytes()))
    dataset = on_canvas(imagenette(tmp_path, expected=expected), size=32)
    with pytest.raises(DataError, match=rf"image \d+ cannot be read .*Remove {tmp_path}"):
        for _ in train_batches(dataset, batch_size=60, seed=0, epoch=0):
            pass


def test_a_prepared_directory_of_another_archive_is_refused(tmp_path, small_archive):
    path, expected = small_archive
    imagenette(tmp_path, archive=path, expected=expected)
    with pytest.raises(DataError, match=r"must hold 9469 .* got 60 and 30\. Remove"):
        imagenette(tmp_path)


def test_a_prepared_directory_in_tensorflows_format_is_refused(tmp_path, small_archive):
    path, expected = small_archive
    imagenette(tmp_path, archive=path, expected=expected)
    info = tmp_path / PREPARED / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(DataError, match=rf"{tmp_path / PREPARED} cannot be read .*Remove"):
        imagenette(tmp_path, expected=expected)


def test_two_runs_that_start_at_once_prepare_once(tmp_path, small_archive):
    args = (str(tmp_path), str(small_archive[0]), *map(str, (small_archive[1].size,)))
    args += (small_archive[1].sha256, "0.3")
    children = [subprocess.Popen([sys.executable, "-c", SLOW, *args], cwd=ROOT) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert {p.split("/")[0] for p in leftovers(tmp_path)} == {"imagenette"}


def test_prepared_photos_go_to_a_cache_beside_them(tmp_path, small_archive):
    dataset = imagenette(tmp_path, archive=small_archive[0], expected=small_archive[1])
    direct = on_canvas(dataset, size=128)
    said = []
    cached = on_canvas(dataset, size=128, cache=tmp_path, say=said.append, processes=0)
    assert direct.canvas == 160 and "Decoding 90 photos" in said[0]
    assert list((tmp_path / "canvases").glob("imagenette-*/*/pixels"))
    for split in ("train", "valid"):
        one, other = getattr(direct, split), getattr(cached, split)
        np.testing.assert_array_equal(one.labels, other.labels)
        got, want = (source.rows(np.arange(0, len(one), 7)).arrays for source in (other, one))
        assert want["image"].shape[1:] == (160, 240, 3)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


def test_a_data_directory_that_is_a_file(tmp_path, small_archive):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file must be a directory .*--data-dir"):
        imagenette(tmp_path / "file", archive=small_archive[0], expected=small_archive[1])


@pytest.mark.parametrize("which", ["data_dir", "archive"])
def test_a_path_that_is_too_long_is_an_error(tmp_path, which):
    paths = {"data_dir": tmp_path} | {which: tmp_path / ("x" * 5000)}
    with pytest.raises(DataError, match="File name too long"):
        imagenette(**paths)


def test_killed_in_mid_preparation_the_next_start_cleans_up(tmp_path, small_archive):
    path, expected = small_archive
    args = [str(tmp_path), str(path), str(expected.size), expected.sha256, "60"]
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 300  # TensorFlow Datasets takes long to import
    while not list(tmp_path.glob(f"{UNFINISHED}*/imagenette")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / PREPARED).exists() and list(tmp_path.glob(f"{UNFINISHED}*"))
    assert len(imagenette(tmp_path, archive=path, expected=expected).train) == 60
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


def test_nothing_imports_tensorflow_or_writes_into_the_packages(tmp_path, small_archive):
    import tensorflow_datasets as tfds

    checksums = Path(tfds.builder_cls("imagenette").code_path).with_name("checksums.tsv")
    before = hashlib.sha256(checksums.read_bytes()).digest()
    imagenette(tmp_path, archive=small_archive[0], expected=small_archive[1])
    assert hashlib.sha256(checksums.read_bytes()).digest() == before
    assert "tensorflow" not in sys.modules
    assert os.environ.get("TFDS_DATA_DIR") is None


@pytest.mark.parametrize("name", ["a**b", os.fsdecode(b"caf\xe9")])
def test_a_directory_that_tfds_cannot_take_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"a path of UTF-8 without `\*\*`"):
        imagenette(tmp_path / name)
    assert not list(tmp_path.iterdir())
