"""What train.py leaves beside the metrics, and what it makes of single images afterwards."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import train as script
from gradtx.data import ImageSpec, read_images
from gradtx.models import IMAGE_MODELS
from gradtx.observers import read_jsonl
from gradtx.report import read_validation
from gradtx.report.__main__ import main as report
from gradtx.report.faults import read_faults
from gradtx.report.run import count_unreadable
from gradtx.run import (
    TrainOptions,
    image_model,
    predict_files,
    predict_images,
    read_config,
    restore_model,
)
from gradtx.sealed import read_json


def make_arrays(path):
    """Two classes of gray images, told apart by their brightness."""
    rng = np.random.default_rng(0)
    label = np.arange(96) % 2
    image = (rng.integers(0, 128, (96, 8, 8)) + 120 * label[:, None, None]).astype(np.uint8)
    np.savez(path, x_train=image[:80], y_train=label[:80], x_test=image[80:], y_test=label[80:])
    return image[80:]


def train(*argv):
    return script.main([*map(str, argv)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("arrays")
    images = make_arrays(base / "x.npz")
    argv = ["--dataset", "arrays", "--data-dir", base / "x.npz", "--model", "mlp", "--size", 8]
    argv += ["--epochs", 2, "--batch-size", 16, "--log-gradient-norm", "--nonfinite", "skip"]
    out = base / "run"
    assert train(*argv, "--out", out) == 0
    return out, images, argv


def test_the_run_has_its_report_events_and_counts(run):
    out = run[0]
    text = (out / "report.html").read_text()
    assert "Confusions" in text and "gradient norm over steps" in text
    config = read_json(out / "config.json")
    assert config["device"]["platform"] == "cpu" and {"python", "jax"} <= config["versions"].keys()
    for said in (*config["versions"].values(), "device: kind", "examples/s"):
        assert f">{said}<" in text
    assert "What is missing" not in text
    assert list((out / "tensorboard").glob("events.*"))
    counts = {"batches skipped, not finite": 0} | count_unreadable([])
    assert read_faults(out) == counts
    steps = read_jsonl(out / "metrics.jsonl").steps
    assert len(steps["gradient_norm"]) == 10 and (steps["gradient_norm"] > 0).all()
    assert not (out / "skipped.jsonl").exists()


def test_metrics_that_are_shorter_than_when_the_run_ended_are_named(run, tmp_path, capsys):
    out = shutil.copytree(run[0], tmp_path / "run")
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "metrics.jsonl").write_text("".join(lines[:6]))  # whole lines of the first epoch
    assert report([str(out)]) == 2
    said = capsys.readouterr().err
    assert "another metrics.jsonl, which has lost lines" in said and said.count("\n") == 1


def test_the_predictions_are_those_behind_the_last_line_of_the_table(run):
    out = run[0]
    found = read_validation(out / "validation.npz")
    assert len(found.labels) == 16
    right = np.mean(found.predicted == found.labels)
    assert right == pytest.approx(read_jsonl(out / "metrics.jsonl").rows[-1]["accuracy"])
    own = found.probabilities[np.arange(16), found.labels]
    loss = read_jsonl(out / "metrics.jsonl").rows[-1]["valid_loss"]
    assert -np.mean(np.log(own)) == pytest.approx(loss, rel=1e-4)


def test_predict_says_of_a_file_what_the_run_said_of_the_image(run, tmp_path, capsys):
    out, images, _ = run
    want = read_validation(out / "validation.npz").probabilities
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, i in zip(paths, (3, 8), strict=True):
        Image.fromarray(images[i]).convert("RGBA").save(path)
    assert train("predict", out, *paths, "--top", 2) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert str(out / "checkpoints") in first
    assert [lines[0], lines[3]] == [str(path) for path in paths]
    for block, i in ((lines[1:3], 3), (lines[4:6], 8)):
        got = {m[2]: float(m[1]) / 100 for m in (re.match(r" +([\d.]+)%  (\w+)", x) for x in block)}
        assert list(got) == [str(c) for c in np.argsort(-want[i], kind="stable")]
        for name, share in got.items():
            assert share == pytest.approx(want[i, int(name)], abs=6e-5)
    assert train("predict", out, paths[0], "--top", 1) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_predict_averages_over_mirrored_copies(run, tmp_path, capsys):
    """The run mirrors half of its images, so each copy is the image or its mirror image."""
    out, images, _ = run
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, i in zip(paths, (3, 8), strict=True):
        Image.fromarray(images[i]).save(path)
    options, spec = read_config(TrainOptions, out), ImageSpec.read(out / "data.json")
    model = image_model(options, spec, IMAGE_MODELS)
    rows = {"image": images[[3, 8], :, :, None]}
    rows |= {"image": np.concatenate([rows["image"], rows["image"][:, :, ::-1]])}
    trained = restore_model(model, out).state
    p = predict_images(model.apply, **trained, images=rows, prepare=spec.prepare).reshape(2, 2, 2)
    assert train("predict", out, *paths, "--tta", 4) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    for i, block in enumerate((lines[1:3], lines[4:6])):
        found = [re.match(r" +([\d.]+)%  (\w+)", line) for line in block]
        shares = {m[2]: float(m[1]) / 100 for m in found}
        plain, mirrored = p[:, i]
        possible = [0.25 * plain + 0.75 * (k * mirrored + (4 - k) * plain) / 4 for k in range(5)]
        got = np.array([shares["0"], shares["1"]])
        assert min(np.abs(x - got).max() for x in possible) < 6e-5


def test_predict_takes_folders_and_writes_a_table(run, tmp_path, capsys):
    out, images, _ = run
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    for i in (3, 8):
        Image.fromarray(images[i]).save(folder / f"{i}, a.png")
    (folder / "notes.txt").write_text("no image")
    want = read_validation(out / "validation.npz")
    table = tmp_path / "found.csv"
    assert train("predict", out, tmp_path / "photos", "--csv", table) == 0
    assert f"Written: {table}, 2 images." in capsys.readouterr().out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["image"] for row in rows] == [str(folder / f"{i}, a.png") for i in (3, 8)]
    found = predict_files(out, [tmp_path / "photos"])
    np.testing.assert_allclose(found.probabilities, want.probabilities[[3, 8]], atol=6e-5)
    for row, shares, name in zip(rows, found.probabilities, found.predicted, strict=True):
        assert row["predicted"] == name
        assert [float(row[c]) for c in found.classes] == pytest.approx(shares, rel=1e-4)
    (tmp_path / "empty").mkdir()
    assert train("predict", out, tmp_path / "empty") == 2
    assert "must hold an image file; got none" in capsys.readouterr().err


def test_what_cannot_be_predicted_is_one_line(run, tmp_path, capsys):
    out, images, _ = run
    good = tmp_path / "a.png"
    Image.fromarray(images[0]).save(good)
    bad = tmp_path / "b.png"
    bad.write_text("no image")
    text, bare, search = tmp_path / "text", tmp_path / "bare", tmp_path / "search"
    for other in (text, bare, search):
        other.mkdir()
        config = read_json(out / "config.json")
        if other == text:
            config |= {"model": "lstm", "dataset": "embedded", "data_dir": None}
        config |= {"find_lr": other == search}
        (other / "config.json").write_text(json.dumps(config))
    (bare / "data.json").write_text((out / "data.json").read_text())
    for argv, said in [
        (["absent", good], "`RUN` must be the directory of a run; got absent"),
        ([text, good], "text, one on text. Name another run."),
        ([search, good], "predict needs a training on images; got"),
        ([bare, good], "must have an intact checkpoint; got none"),
        ([out, bad], "b.png cannot be read (not an image"),
        ([out, tmp_path / "c.png"], "c.png cannot be read"),
        ([out, good, "--top", 0], "`--top` must be positive; got 0"),
        ([out, good, "--tta", -1], "`--tta` must be a number of copies"),
    ]:
        assert train("predict", *argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and said in line


@pytest.fixture
def photos(tmp_path):
    """A tree of class folders, of which one training image is damaged within."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5)):
        for label in ("<n01>", "n02"):
            where = tmp_path / "photos" / split / label
            where.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(where / f"{i}.JPEG")
    bad = tmp_path / "photos" / "train" / "n02" / "7.JPEG"
    bad.write_bytes(bad.read_bytes()[:-300])
    return tmp_path / "photos", bad


def test_a_damaged_photo_is_left_out_named_and_reported(photos, tmp_path, capsys):
    tree, bad = photos
    argv = ["--dataset", "folder", "--data-dir", tree, "--model", "mlp", "--size", 16]
    out = tmp_path / "run"
    assert train(*argv, "--epochs", 2, "--batch-size", 8, "--out", out) == 0
    said = capsys.readouterr().err
    assert said.count(f"{bad} cannot be read") == 1
    record = json.loads((out / "skipped.jsonl").read_text())
    assert record["split"] == "train" and str(bad) in record["why"]
    counts = read_faults(out)
    assert list(counts.values()) == [0, 1, 1, 0]  # all, training and validation images
    text = (out / "report.html").read_text()
    for name, count in counts.items():
        cell = f"<td>{count}</td>" if count == 0 else f'<td class="bad">{count}</td>'
        assert f"<td>{name}</td>{cell}" in text
    assert str(bad) in text and "&lt;n01&gt;" in text and "<n01>" not in text
    photo = sorted((tree / "val" / "n02").iterdir())[0]
    assert train("predict", out, photo) == 0
    spec = ImageSpec.read(out / "data.json")
    assert spec.photos and read_images([photo], spec).shape == (1, 16, 16, 3)
    bad.with_name("8.JPEG").write_bytes(bad.read_bytes())
    assert train(*argv, "--epochs", 2, "--batch-size", 8, "--out", tmp_path / "more") == 2
    assert "at most 1 of 34 images may be unreadable" in capsys.readouterr().err.splitlines()[-1]


def test_nothing_but_bad_batches_ends_a_skipping_run_with_status_1(run, tmp_path, capsys):
    argv = [*run[2], "--optimizer", "sgd", "--schedule", "constant", "--lr", "3e38"]
    assert train(*argv, "--out", tmp_path / "run") == 1
    assert "5 batches in a row were not finite" in capsys.readouterr().err
    counts = read_faults(tmp_path / "run")
    assert counts == {"batches skipped, not finite": 5} | count_unreadable([])
    assert (tmp_path / "run" / "report.html").exists()
