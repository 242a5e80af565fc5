"""Single image files, prepared as the validation images of a data set."""

import json

import numpy as np
import pytest
from PIL import Image

from gradtx.augment import Augmentation
from gradtx.data import DataError, ImageSpec, load, on_canvas, read_images, valid_batches
from gradtx.sealed import read_json


def test_a_file_is_prepared_as_the_validation_image_it_is(tmp_path):
    dataset = load("embedded")
    paths = [tmp_path / f"{i}.png" for i in (3, 5)]
    for i, path in zip((3, 5), paths, strict=True):
        Image.fromarray(dataset.valid.images[i, :, :, 0]).convert("RGB").save(path)
    for size in (28, 32):
        spec = ImageSpec.of(dataset, size=size)
        want = spec.prepare(next(valid_batches(dataset, batch_size=6)), None)["image"]
        want = np.asarray(want)[[3, 5]]
        got = read_images(paths, spec)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_photo_is_prepared_as_the_validation_photo_it_is(small_tree):
    dataset = load("folder", data_dir=small_tree)
    paths = [dataset.valid[i]["image"] for i in range(30)]
    dataset = on_canvas(dataset, size=48)
    spec = ImageSpec.of(dataset, size=48, augmentation=Augmentation("rand", mix="mixup"))
    want = spec.prepare(next(valid_batches(dataset, batch_size=30)), None)["image"]
    np.testing.assert_allclose(read_images(paths, spec), want, atol=1e-4)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("channels, photos", [(1, False), (3, False), (3, True)])
def test_images_of_any_mode_and_shape_fit(tmp_path, mode, channels, photos):
    path = tmp_path / "x.tiff"
    Image.new("L", (13, 9)).convert(mode).save(path)
    numbers = (0.5,) * channels
    spec = ImageSpec("x", "x-1", ("a", "b"), channels, numbers, numbers, 8, photos)
    assert read_images([path, path], spec).shape == (2, 8, 8, channels)


def test_a_description_comes_back_from_its_file(tmp_path):
    spec = ImageSpec.of(load("embedded"), size=28, augmentation=Augmentation(shift=0.1))
    spec.write(tmp_path / "data.json")
    assert ImageSpec.read(tmp_path / "data.json") == spec
    entries = read_json(tmp_path / "data.json")
    older = {name: x for name, x in entries.items() if name not in ("canvas", "augmentation")}
    (tmp_path / "older.json").write_text(json.dumps(older))
    plain = ImageSpec.of(load("embedded"), size=28)
    assert ImageSpec.read(tmp_path / "older.json") == plain
    spoilt = json.dumps(entries | {"augmentation": {"kind": "much"}})
    for text in ("", "[]", "{}", '{"classes": 3}', spoilt):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match=r"bad\.json must be what a run on images wrote"):
            ImageSpec.read(tmp_path / "bad.json")
    with pytest.raises(DataError, match="got none"):
        ImageSpec.read(tmp_path / "absent.json")


def test_what_is_no_image_is_named(tmp_path):
    spec = ImageSpec.of(load("embedded"), size=28)
    (tmp_path / "x.png").write_text("not an image")
    with pytest.raises(
        DataError, match=r"x\.png cannot be read \(not an image .*PPM, or .*\)\. Name image"
    ):
        read_images([tmp_path / "x.png"], spec)
    with pytest.raises(DataError, match=r"y\.png cannot be read .*No such file"):
        read_images([tmp_path / "y.png"], spec)
    with pytest.raises(DataError, match=r"cannot be read .*irectory"):
        read_images([tmp_path], spec)
