"""Where a run's images come from: caches, what is said of sizes, and parts of a validation set."""

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train as script
from gradtx import data
from gradtx.config import parse
from gradtx.data.array_source import ArraySource
from gradtx.data.canvas_source import CanvasSource
from gradtx.data.dataset import Dataset
from gradtx.data.photo_source import PhotoSource
from gradtx.loop.rows import gathered
from gradtx.run import TrainOptions, image_source, load_images, sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tree of small photos, of which one of training is damaged within."""
    rng = np.random.default_rng(0)
    base = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 24), ("val", 12)):
        for label in ("a", "b"):
            where = base / split / label
            where.mkdir(parents=True)
            for i in range(count):
                shape = (24, 30 + i, 3) if i % 2 else (40, 24, 3)
                Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(where / f"{i}.jpg")
    bad = base / "train" / "a" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:-300])
    return base


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache of one test, empty."""
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def options(folder, *argv):
    words = ["--dataset", "folder", "--data-dir", str(folder), "--batch-size", "8", *argv]
    return parse(TrainOptions, words)


def loaded(folder, *argv):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        dataset: Any = load_images(options(folder, *argv))
    return dataset, out.getvalue().splitlines()


def test_photos_are_decoded_once_unless_something_is_only_tried(folder, cache):
    before = set(folder.rglob("*"))
    for argv in (["--limit-batches", "1"], ["--cache", "none"]):
        dataset, lines = loaded(folder, "--size", "16", *argv)
        assert isinstance(dataset.train, PhotoSource) and dataset.canvas == 24
        assert len(lines) == 1 and not (cache / "canvases").exists()
    dataset, lines = loaded(folder, "--size", "16")
    assert isinstance(dataset.train, CanvasSource) and "Decoding 72 photos, once" in lines[1]
    dataset, lines = loaded(folder, "--size", "16")
    assert isinstance(dataset.train, CanvasSource) and len(lines) == 1
    dataset, lines = loaded(folder, "--size", "16", "--cache-limit", "0.0001")
    assert isinstance(dataset.train, PhotoSource) and "above the limit of 0.1 MB" in lines[1]
    assert set(folder.rglob("*")) == before


def test_too_large_a_batch_is_found_before_anything_is_decoded(folder, cache):
    with pytest.raises(data.DataError, match="must have one batch"):
        loaded(folder, "--size", "15", "--batch-size", "100")
    assert not list(cache.rglob("pixels"))


def test_small_photos_that_are_enlarged_are_said_to_be(folder):
    _, lines = loaded(folder, "--cache", "none")
    want = "The photos' short sides are at most 24 px: they are enlarged to 128 px. `--size 24`"
    assert lines[1].startswith(want)
    assert len(loaded(folder, "--cache", "none", "--size", "64")[1]) == 1  # as was asked for
    assert len(loaded(folder, "--cache", "none", "--size", "24")[1]) == 1


def test_arrays_that_are_resized_are_said_to_be(tmp_path):
    x, y = np.zeros((8, 40, 50, 3), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "x.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["--dataset", "arrays", "--data-dir", str(tmp_path / "x.npz"), "--batch-size", "4"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        load_images(parse(TrainOptions, words))
    assert "The images are 40 x 50 px: they are resized to 28 px. `--size 50`" in out.getvalue()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        load_images(parse(TrainOptions, ["--batch-size", "4"]))
    assert len(out.getvalue().splitlines()) == 1


def in_class_order(counts):
    """A data set whose validation set lies in class order."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (len(labels), 4, 4, 1))
    source = ArraySource(images, labels)
    classes = tuple(map(str, range(len(counts))))
    return Dataset("arrays", classes, source, source, 1, (0.5,), (0.5,), "x")


@pytest.mark.parametrize("cache", ["host", "device"])
def test_a_part_of_a_validation_set_has_every_class_by_its_share(cache):
    dataset = in_class_order([40, 80, 40, 20, 20])
    source = image_source(dataset, batch_size=10, size=4, limit=2, cache=cache)
    labels = np.concatenate([gathered(batch)["label"] for batch in source.valid()])
    assert np.bincount(labels).tolist() == [4, 8, 4, 2, 2]
    assert source.arrays is not None
    assert np.bincount(source.arrays("valid")["label"]).tolist() == [4, 8, 4, 2, 2]
    whole = image_source(dataset, batch_size=10, size=4, limit=20, cache=cache)
    assert sum(gathered(batch)["weight"].sum() for batch in whole.valid()) == 200


def test_the_rows_of_a_part_do_not_depend_on_anything_else():
    dataset = in_class_order([3, 3, 3])
    part = data.limit_valid(dataset, 3).valid
    assert part.labels.tolist() == [0, 1, 2]
    assert part.rows(np.array([2, 0])).arrays["label"].tolist() == [2, 0]
    assert data.limit_valid(dataset, 9) is dataset
    assert len(data.limit_valid(dataset, 5).valid) == 5


def test_batches_with_every_kind_of_cache_are_equal_by_the_bit(folder, tmp_path):
    """Also with a photo that cannot be read."""
    plain = data.load("folder", data_dir=folder)
    kept = data.on_canvas(plain, size=12, cache=tmp_path, say=lambda _: None)
    kinds = (plain, "none"), (kept, "host"), (kept, "device"), (plain, "device")
    epochs = []
    for dataset, cache in kinds:
        source = image_source(dataset, batch_size=16, size=12, cache=cache)
        epochs.append([*source.train(0, 0), *source.train(1, 1), *source.valid()])
    assert {len(epoch) for epoch in epochs} == {3 + 2 + 2}
    for batches in zip(*epochs, strict=True):
        want, *others = map(gathered, batches)
        for got in others:
            assert got.keys() == want.keys()
            for name in want:
                np.testing.assert_array_equal(got[name], want[name])
    assert sum((batch["weight"] == 0).sum() for batch in epochs[0][:3]) == 1


@pytest.mark.thorough
def test_runs_with_every_kind_of_cache_are_equal_by_the_bit(folder, tmp_path):
    """Also with a photo that cannot be read; the cache is made by one and used by others."""
    lines = {}
    for kind in ("none", "host", "device", "auto"):
        argv = ["--dataset", "folder", "--data-dir", str(folder), "--model", "mlp", "--size", "12"]
        argv += ["--epochs", "1", "--batch-size", "16", "--cache", kind]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert script.main([*argv, "--out", str(tmp_path / kind)]) == 0, said.getvalue()
        text = (tmp_path / kind / "metrics.jsonl").read_text().splitlines()
        keep = ("loss", "smooth_loss", "valid_loss", "accuracy")
        lines[kind] = [
            {name: line[name] for name in keep if name in line} for line in map(json.loads, text)
        ]
        assert json.loads((tmp_path / kind / "data.json").read_text())["canvas"] == 21
    assert lines["none"] == lines["host"] == lines["device"] == lines["auto"]


def test_without_a_home_directory_nothing_is_kept(folder, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", sources.Path("~/x"))
    monkeypatch.setattr(sources, "as_path", refuse)
    dataset, lines = loaded(folder, "--size", "20")
    assert isinstance(dataset.train, PhotoSource) and len(lines) == 1


def refuse(_):
    raise ValueError("no home")
