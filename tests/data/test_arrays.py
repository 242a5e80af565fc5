"""Data sets in .npz files: the embedded one, the user's own, and files that are not right."""

import io
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from gradtx.data import DataError, ImageSpec, arrays, embedded, load, read_rows
from gradtx.data.arrays import moments
from gradtx.data.embedded import FILE


def good() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (12, 5, 6, 3), np.uint8),
        "y_train": np.arange(12) % 3,
        "x_test": rng.integers(0, 256, (4, 5, 6, 3), np.uint8),
        "y_test": np.arange(4) % 3,
    }


def saved(tmp_path, **changes):
    found = {k: v for k, v in (good() | changes).items() if v is not None}
    np.savez_compressed(tmp_path / "mine.npz", **found)
    return tmp_path / "mine.npz"


def test_embedded_is_balanced_and_within_its_limits():
    dataset = embedded()
    assert FILE.stat().st_size < 4_000_000
    assert (len(dataset.train), len(dataset.valid), dataset.channels) == (6000, 1000, 1)
    assert np.bincount(dataset.train.labels).tolist() == [600] * 10
    assert np.bincount(dataset.valid.labels).tolist() == [100] * 10
    assert len(dataset.classes) == 10 and dataset.classes[9] == "Ankle boot"
    assert dataset.train[0]["image"].shape == (28, 28, 1)
    # No test image is also a training image.
    as_bytes = lambda source: {image.tobytes() for image in source.images}
    assert not as_bytes(dataset.train) & as_bytes(dataset.valid)


def test_an_altered_embedded_file_is_refused(tmp_path):
    raw = bytearray(FILE.read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "f.npz").write_bytes(raw)
    with pytest.raises(DataError, match=r"f\.npz is damaged or altered \(sha256 .*Reinstall"):
        embedded(file=tmp_path / "f.npz")
    with pytest.raises(DataError, match=r"none\.npz is missing\. Reinstall"):
        embedded(file=tmp_path / "none.npz")


def test_the_users_arrays_come_back_with_their_moments(tmp_path):
    dataset = load("arrays", data_dir=saved(tmp_path))
    x = good()["x_train"] / 255
    np.testing.assert_allclose(dataset.mean, x.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, x.std((0, 1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(dataset.train.images, good()["x_train"])
    assert dataset.classes == ("0", "1", "2") and dataset.train.labels.dtype == np.int32


def test_gray_images_get_a_channel_and_equal_content_an_equal_fingerprint(tmp_path):
    gray = {k: good()[k][..., 0] for k in ("x_train", "x_test")}
    first = arrays(saved(tmp_path, **gray))
    assert first.channels == 1 and first.train.images.shape == (12, 5, 6, 1)
    np.savez(tmp_path / "other.npz", **(good() | gray))
    assert arrays(tmp_path / "other.npz").fingerprint == first.fingerprint
    gray["x_train"][3, 2, 1] ^= 1
    assert arrays(saved(tmp_path, **gray)).fingerprint != first.fingerprint


@pytest.mark.parametrize("channels", [2, 5])
def test_any_number_of_channels(tmp_path, channels):
    rng = np.random.default_rng(0)
    new = {k: rng.integers(0, 256, (*v.shape[:3], channels), np.uint8)
           for k, v in good().items() if k[0] == "x"}  # fmt: skip
    dataset = arrays(saved(tmp_path, **new))
    assert dataset.channels == len(dataset.mean) == channels
    np.testing.assert_allclose(dataset.mean, new["x_train"].mean((0, 1, 2)) / 255)
    spec = ImageSpec.of(dataset, size=5)
    spec.write(tmp_path / "data.json")
    assert ImageSpec.read(tmp_path / "data.json") == spec
    with pytest.raises(DataError, match=rf"of 1 or 3 channels .* got one of {channels}\. Ask"):
        read_rows(tmp_path / "x.png", spec)


def test_a_constant_channel_is_only_centered(tmp_path):
    dataset = arrays(saved(tmp_path, x_train=np.full((12, 5, 6, 3), 51, np.uint8)))
    np.testing.assert_allclose(dataset.mean, 0.2)
    assert dataset.std == (1.0, 1.0, 1.0)


x, y = good()["x_train"], good()["y_train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "must hold x_train, y_train, x_test, y_test; it has no y_test"),
        ({"x_train": x / 255}, r"x_train of .* must be uint8 .*got float64 \[12, 5, 6, 3\]"),
        ({"x_train": x[..., None]}, r"\[n, h, w, c\]; got uint8 \[12, 5, 6, 3, 1\]"),
        ({"x_train": x[0, 0]}, r"must be uint8 \[n, h, w\].*got uint8 \[6, 3\]"),
        ({"x_test": x[:0], "y_test": y[:0]}, "x_test of .* has no images"),
        ({"x_test": x[:4, :4]}, r"must all have one shape; got \(5, 6, 3\) .*\(4, 6, 3\)"),
        ({"y_train": y[:-1]}, r"must be integers \[12\], one per image; got int64 \[11\]"),
        ({"y_train": y / 1}, r"must be integers \[12\], one per image; got float64"),
        ({"y_train": y + 1}, "must number its classes 0, 1, .*got 3 values from 1 to 3"),
        ({"y_train": y * 2}, "with no gap.*got 3 values from 0 to 4"),
        ({"y_train": y * 0}, "two at least; got 1 values from 0 to 0"),
        ({"y_test": np.array([0, 1, 2, 3])}, r"y_test of .* must lie in 0\.\.2.*got 0 to 3"),
        ({"y_test": np.array([-1, 1, 2, 0])}, r"y_test of .* must lie in 0\.\.2.*got -1 to 2"),
        (
            {"y_test": np.array([{}] * 4)},
            "must be an .npz archive of the plain arrays x_train.*got",
        ),
    ],
)
def test_arrays_that_are_not_right_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        arrays(saved(tmp_path, **changes))


def truncated(raw):
    return raw[:-400]


def flipped(raw):
    return raw[:200] + bytes([raw[200] ^ 0xFF]) + raw[201:]


def lone_array(raw):
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


def no_array(raw):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for key in good():
            file.writestr(f"{key}.npy", b"nothing")
    return out.getvalue()


def other_files(raw):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("readme.txt", b"text")
    return out.getvalue()


@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (truncated, "a file that is none, or only its beginning"),
        (flipped, "one that is damaged"),
        (lone_array, "a file that is none"),
        (no_array, "one of other files than arrays"),
        (other_files, "one of other files than arrays"),
        (lambda raw: b"", "a file that is none"),
        (lambda raw: b"label,pixel\n" * 9, "a file that is none"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, got):
    path = saved(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as failed:
        arrays(path)
    said = str(failed.value)
    assert "mine.npz must be an .npz archive of the plain arrays x_train, y_train" in said
    assert f"; got {got}" in said and "allow_pickle" not in said


class Trap:
    """An object that makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("archived", [True, False])
def test_no_pickle_is_ever_loaded(tmp_path, archived):
    trap, path = Trap(tmp_path / "sprung"), tmp_path / "mine.npz"
    if archived:
        saved(tmp_path, y_test=np.array([trap] * 4, object))
    else:
        path.write_bytes(pickle.dumps(trap))
    with pytest.raises(DataError, match=r"must be an [.]npz archive of the plain arrays") as failed:
        arrays(path)
    assert "allow_pickle" not in str(failed.value) and not (tmp_path / "sprung").exists()
    file = np.load(path, allow_pickle=True)
    if archived:
        with file:
            assert file["y_test"].shape == (4,)  # the trap works
    assert (tmp_path / "sprung").exists()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*none\.npz"):
        arrays(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "label",
    [2**32, 2**63 - 1, -(2**32), np.uint64(2**64 - 1)],  # each is another in 32 bits
)
def test_labels_are_checked_before_they_are_made_smaller(tmp_path, label):
    for key in ("y_train", "y_test"):
        y = good()[key].astype(np.asarray(label).dtype)
        y[3] = label
        with pytest.raises(DataError, match=rf"{key} of .*got .*{label}"):
            arrays(saved(tmp_path, **{key: y}))


def header_of(shape, dtype="|u1"):
    """The beginning of an array file, without its data."""
    out = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue()


def with_member(path, name, content):
    """An archive of good arrays, one of which is these bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for key, value in good().items():
            out = io.BytesIO()
            np.save(out, value)
            file.writestr(f"{key}.npy", content if key == name else out.getvalue())
    return path


def test_an_archive_that_unpacks_to_gigabytes_is_refused_by_its_headers(tmp_path):
    content = header_of((10**9, 2, 2)) + bytes(10**6)
    path = with_member(tmp_path / "mine.npz", "x_train", content)
    tracemalloc.start()
    try:
        message = r"must unpack to at most 2048\.0 MiB .*; got 3814\.7 MiB .*Leave out images"
        with pytest.raises(DataError, match=message):
            arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_only_the_arrays_that_are_named_are_unpacked(tmp_path):
    path = with_member(tmp_path / "mine.npz", "", b"")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("other.npy", header_of((10**12,)) + bytes(10**6))
        file.writestr("x.txt", "text")
    assert len(arrays(path).train) == 12


@pytest.mark.parametrize(
    "content",
    [
        header_of((10**30, 2, 2))[:-30],
        header_of("(" * 3000),
        header_of((-12, 5, 6, 3)),
        header_of((12, 5, 6, 3)),
        header_of((12, 5, 6, 3)) + bytes(12 * 5 * 6 * 3 + 1),
        header_of((12, 5, 6, 3)).replace(b"'shape'", b"'shabe'"),
        header_of((12, 5, 6, 3)).replace(b"(12, 5", b"(((((("),
        header_of((12, 5, 6, 3)).replace(b"|u1", b"?!,"),
        b"\x93NUMPY\x09\x00" + bytes(60),
        b"\x93NUMPY\x01\x00\xff\xff",
    ],
)
def test_malformed_headers_are_refused(tmp_path, content):
    path = with_member(tmp_path / "mine.npz", "x_train", content)
    message = r"must be an \.npz archive of the plain arrays .*got one"
    with pytest.raises(DataError, match=message) as caught:
        arrays(path)
    assert len(str(caught.value)) < 500


def test_a_flipped_bit_of_an_array_that_is_not_compressed_is_noticed(tmp_path):
    np.savez(tmp_path / "mine.npz", **good())
    raw = bytearray((tmp_path / "mine.npz").read_bytes())
    raw[raw.index(good()["x_train"].tobytes()[:20]) + 7] ^= 1
    (tmp_path / "mine.npz").write_bytes(raw)
    with pytest.raises(DataError, match=r"one that is damaged .*CRC"):
        arrays(tmp_path / "mine.npz")


def test_moments_take_little_memory():
    images = np.random.default_rng(0).integers(0, 256, (400, 100, 100, 3), np.uint8)
    tracemalloc.start()
    try:
        mean, _ = moments(images)
        assert tracemalloc.get_traced_memory()[1] < 3 * images.nbytes
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)) / 255, rtol=1e-12)


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    for path, why in ((tmp_path / ("x" * 5000), "File name too long"), (tmp_path, "no file")):
        with pytest.raises(DataError, match=why):
            arrays(path)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match="there is no file"):
        arrays(tmp_path / "pipe.npz")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("imagenet", {}, "one of embedded, imagenette, folder, arrays; got 'imagenet'"),
        ("embedded", {"data_dir": "x"}, "'embedded' takes no `data_dir`"),
        ("embedded", {"archive": "x"}, "`archive` is for imagenette only"),
        ("folder", {"data_dir": "x", "archive": "y"}, "`archive` is for imagenette only"),
        ("folder", {}, "'folder' needs `data_dir`"),
        ("arrays", {}, "'arrays' needs `data_dir`"),
    ],
)
def test_load_refuses_unknown_names_and_paths_it_would_not_use(name, options, message):
    with pytest.raises(DataError, match=message):
        load(name, **options)
