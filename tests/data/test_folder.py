"""Trees of class folders, sound and not."""

import os
import shutil
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gradtx.data import (
    DataError,
    ImageSpec,
    file_index,
    load,
    on_canvas,
    train_batches,
    valid_batches,
)


def test_a_tree_is_read_with_its_classes_in_order(small_tree, layout):
    (small_tree / "train" / "n01440764" / "notes.txt").write_text("not an image")
    (small_tree / "train" / "n01440764" / ".hidden.jpg").write_text("not an image")
    (small_tree / "train" / ".cache").mkdir()
    dataset = load("folder", data_dir=small_tree)
    assert (len(dataset.train), len(dataset.valid), dataset.channels) == (60, 30, 3)
    assert dataset.classes == tuple(sorted({n.split("/")[2] for n in layout.members()}))
    for i in (0, 17, 59):
        example = dataset.train[i]
        assert example["image"].parent.name == dataset.classes[example["label"]]


def test_validation_is_the_central_square_resized(small_tree):
    dataset = on_canvas(load("folder", data_dir=small_tree), size=128)
    prepare = ImageSpec.of(dataset, size=128).prepare
    batch = prepare(next(valid_batches(dataset, batch_size=30)), None)
    for i in (0, 29):
        photo = Image.open(dataset.valid[i]["image"])
        side, left = min(photo.size), (max(photo.size) - min(photo.size)) / 2
        box = (left, 0, left + side, side)
        want = np.asarray(photo.resize((128, 128), Image.Resampling.BILINEAR, box=box), float)
        got = np.asarray(batch["image"][i]) * np.float32([0.229, 0.224, 0.225])
        got = 255 * (got + np.float32([0.485, 0.456, 0.406]))
        np.testing.assert_allclose(got, want, atol=1.5)  # levels


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_other_names_of_the_validation_folder(small_tree, name):
    (small_tree / "val").rename(small_tree / name)
    assert len(load("folder", data_dir=small_tree).valid) == 30


def test_the_fingerprint_is_of_the_content_not_the_place(small_tree, tmp_path, layout):
    first = load("folder", data_dir=small_tree).fingerprint
    moved = small_tree.rename(tmp_path / "elsewhere")
    assert load("folder", data_dir=moved).fingerprint == first
    (moved / "train" / "n01440764" / "new.jpg").write_bytes(layout.jpeg(1))
    assert load("folder", data_dir=moved).fingerprint != first


def test_the_fingerprint_is_of_what_is_in_the_files(small_tree):
    """Also where sizes and times are kept, as by a copying tool."""
    first = load("folder", data_dir=small_tree).fingerprint
    path = small_tree / "val" / "n03000684" / "ILSVRC2012_val_00030001.JPEG"
    raw, before = bytearray(path.read_bytes()), path.stat()
    raw[-300] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load("folder", data_dir=small_tree).fingerprint != first


def test_digests_are_kept_and_only_changed_files_read_again(small_tree, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(file_index, "SETTLED", 0)  # seconds would have to pass otherwise
    time.sleep(0.02)
    fingerprint = lambda: load("folder", data_dir=small_tree, cache=cache).fingerprint
    opened = []
    real = file_index.open_image
    monkeypatch.setattr(file_index, "open_image", lambda path: opened.append(path) or real(path))
    first = fingerprint()
    assert len(opened) == 90 and first == load("folder", data_dir=small_tree).fingerprint
    (store,) = (cache / "folders").iterdir()
    opened.clear()
    assert fingerprint() == first and not opened
    path = small_tree / "val" / "n03000684" / "ILSVRC2012_val_00030001.JPEG"
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = fingerprint()
    assert opened == [path] and changed != first
    raw = bytearray(store.read_bytes())  # a flipped bit of a digest: all is read again
    raw[raw.index(b"JPEG") + 90] ^= 1
    store.write_bytes(raw)
    opened.clear()
    time.sleep(0.02)
    assert fingerprint() == changed and len(opened) == 90
    store.write_bytes(b"")
    assert fingerprint() == changed


def test_what_was_just_changed_is_read_again(small_tree, tmp_path):
    """The next change could come within the same tick of the clock."""
    load("folder", data_dir=small_tree, cache=tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_cache_that_cannot_be_written_changes_nothing(small_tree, tmp_path):
    (tmp_path / "file").write_text("")
    want = load("folder", data_dir=small_tree).fingerprint
    assert load("folder", data_dir=small_tree, cache=tmp_path / "file").fingerprint == want


def test_names_of_any_bytes(small_tree):
    """A class folder that is not UTF-8, and a damaged image in it, with a line break."""
    for split in ("train", "val"):
        os.rename(small_tree / split / "n01440764", os.fsencode(small_tree / split) + b"/caf\xe9")
    folder = os.fsencode(small_tree) + b"/val/caf\xe9/"
    name = os.listdir(folder)[0]
    os.rename(folder + name, folder + b"\xff3\n.jpg")
    dataset = load("folder", data_dir=small_tree)
    assert dataset.classes[0] == r"caf\xe9" and dataset.fingerprint.isascii()
    with open(folder + b"\xff3\n.jpg", "r+b") as file:
        file.truncate(2000)
    dataset = load("folder", data_dir=small_tree)
    with pytest.raises(DataError, match=r"val/caf\\xe9/\\xff3\\n\.jpg cannot be read") as failed:
        list(valid_batches(on_canvas(dataset, size=32), batch_size=30))
    str(failed.value).encode()
    (tmp := small_tree / "train" / "n02102040" / os.fsdecode(b"\xfe.png")).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"n02102040/\\xfe\.png cannot be read \(not an image"):
        load("folder", data_dir=small_tree)
    tmp.unlink()


def test_an_empty_validation_class_is_as_an_absent_one(small_tree):
    for path in (small_tree / "val" / "n03028079").iterdir():
        path.unlink()
    (small_tree / "val" / "unknown").mkdir()
    dataset = load("folder", data_dir=small_tree)
    assert (len(dataset.classes), len(dataset.valid)) == (10, 27)


def test_a_folder_that_may_not_be_read_is_named(small_tree, monkeypatch):
    def refusing(real):
        def read(path="."):
            if "n03028079" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return read

    for name in ("listdir", "scandir"):  # pathlib has one or the other, by the version of Python
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    with pytest.raises(DataError, match=r"n03028079 cannot be read \(Permission denied\)\. Name a"):
        load("folder", data_dir=small_tree)


def test_a_named_pipe_is_refused_at_once(small_tree):
    os.mkfifo(small_tree / "train" / "n01440764" / "x.png")
    with pytest.raises(DataError, match=r"x\.png cannot be read \(not a regular file\)"):
        load("folder", data_dir=small_tree)


PNG = "PNG", 0.01
JPEG = "JPEG", 30  # which loses


@pytest.mark.parametrize(
    "mode, form",
    [("L", PNG), ("CMYK", JPEG), ("P", PNG), ("1", PNG), ("LA", PNG)],
)
def test_images_of_any_mode_become_rgb(small_tree, layout, mode, form):
    suffix, tolerance = form
    photo = Image.open(BytesIO(layout.jpeg(5, (160, 160)))).convert(mode)
    for path in (small_tree / "val").rglob("*.JPEG"):
        path.unlink()
        photo.save(path.with_suffix(f".{suffix}"), suffix)
    dataset = on_canvas(load("folder", data_dir=small_tree), size=160)
    image = next(valid_batches(dataset, batch_size=2))["image"][0, :, :160].astype(float)
    np.testing.assert_allclose(image, np.asarray(photo.convert("RGB"), float), atol=tolerance)


def test_an_unreadable_image_is_named_at_the_start(small_tree):
    bad = small_tree / "train" / "n03000684" / "n03000684_2.JPEG"
    bad.write_bytes(b"no image")
    with pytest.raises(
        DataError, match=rf"{bad} cannot be read \(not an image .*PPM, or .*\)\. Replace or rem"
    ):
        load("folder", data_dir=small_tree)
    (bad.parent / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 more cannot be read either"):
        load("folder", data_dir=small_tree)


def test_a_truncated_image_is_named_when_read(small_tree):
    bad = small_tree / "val" / "n03000684" / "ILSVRC2012_val_00030001.JPEG"
    bad.write_bytes(bad.read_bytes()[:-1000])
    dataset = load("folder", data_dir=small_tree)
    with pytest.raises(DataError, match=rf"{bad} cannot be read \(image file is trunc.*Replace or"):
        list(valid_batches(on_canvas(dataset, size=32), batch_size=30))


def test_an_image_that_went_away_is_named_when_read(small_tree):
    dataset = load("folder", data_dir=small_tree)
    dataset.valid[0]["image"].unlink()
    with pytest.raises(DataError, match=r"JPEG cannot be read .*No such file"):
        list(valid_batches(on_canvas(dataset, size=32), batch_size=30))


def emptied(tree):
    for path in (tree / "train" / "n03028079").iterdir():
        path.unlink()


def one_class(tree):
    for split in ("train", "val"):
        for path in sorted((tree / split).iterdir())[1:]:
            shutil.rmtree(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: shutil.rmtree(d), "there is no directory .*imagenette2-160"),
        (lambda d: shutil.rmtree(d / "train"), "must have one directory train; got none"),
        (lambda d: shutil.rmtree(d / "val"), "one directory val or valid or validation; got none"),
        (lambda d: (d / "valid").mkdir(), "got val and valid. Arrange it as"),
        (lambda d: shutil.rmtree(d / "train/n01440764"), "each class of .*val .*got n01440764"),
        (emptied, "n03028079 must hold an image at least; got none"),
        (one_class, "must hold two class folders at least; got n01440764"),
        (lambda d: [shutil.rmtree(p) for p in (d / "val").iterdir()], "val must hold class fol"),
    ],
)
def test_a_tree_that_is_not_right_is_refused(small_tree, change, message):
    change(small_tree)
    with pytest.raises(DataError, match=message):
        load("folder", data_dir=small_tree)


def test_too_few_images_for_a_batch(small_tree):
    dataset = load("folder", data_dir=small_tree)
    with pytest.raises(DataError, match=r"folder must have one batch .*got 60 with b"):
        train_batches(dataset, batch_size=64, seed=0, epoch=0)
