"""The training script, end to end on tiny models, as a user would call it."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gradtx
import train as script
from gradtx.config import parse

ROOT = Path(__file__).parents[2]
TINY = "--model mlp --epochs 2 --batch-size 32 --size 8 --limit-batches 3".split()


def train(*argv, status=0):
    """Run train.py in this process; returns what it printed."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as error,
    ):
        ended = script.main([*map(str, argv)])
    assert ended == status, error.getvalue()
    return SimpleNamespace(stdout=out.getvalue(), stderr=error.getvalue())


def records(out):
    """The lines of a run's metrics."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tree of class folders, as Imagenette's."""
    rng = np.random.default_rng(0)
    base = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 40), ("val", 7)):
        for label in ("n01", "n02"):
            where = base / split / label
            where.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(where / f"{i}.JPEG")
    return base


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, train(*TINY, "--out", out)


def test_the_first_line_says_which_data_and_how_to_use_imagenette(embedded):
    first = embedded[1].stdout.splitlines()[0]
    assert "Fashion-MNIST" in first and "6,000 training" in first
    assert "not Imagenette" in first and "--dataset imagenette" in first


def test_the_epoch_table_has_a_line_an_epoch(embedded):
    out = embedded[1].stdout
    header = next(line for line in out.splitlines() if "valid_loss" in line)
    assert header.split()[:5] == ["epoch", "train_loss", "valid_loss", "accuracy", "time"]
    assert str(embedded[0]) in out.splitlines()[-1]


def test_metrics_and_configuration_are_written(embedded):
    lines = records(embedded[0])
    steps = [line for line in lines if line["kind"] == "step"]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert len(steps) == 6 and len(epochs) == 2
    assert steps[0]["learning_rate"] == pytest.approx(2e-3 / 25)
    assert 0 <= epochs[-1]["accuracy"] <= 1 and np.isfinite(epochs[-1]["valid_loss"])
    assert json.loads((embedded[0] / "config.json").read_text())["batch_size"] == 32


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_numbers(embedded, tmp_path):
    train(*TINY, "--out", tmp_path)
    timeless = lambda out: [{k: v for k, v in line.items() if k != "time"} for line in records(out)]
    assert timeless(tmp_path) == timeless(embedded[0])


@pytest.fixture(scope="module")
def photos(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    argv = ["--dataset", "folder", "--data-dir", folder, "--model", "resnet_tiny", "--epochs", 1]
    argv += ["--batch-size", 8, "--size", 16, "--head", "concat", "--optimizer", "rmsprop"]
    return out, train(*argv, "--schedule", "flat_cos", "--limit-batches", 3, "--out", out)


def test_a_folder_of_photos(photos):
    first = photos[1].stdout.splitlines()[0]
    assert first.startswith("Data: ") and "14 validation" in first and "at 16 px" in first


def test_validation_covers_every_image(photos):
    """14 validation images in batches of 8: a dropped remainder would give multiples of 1/8."""
    last = records(photos[0])[-1]
    assert last["accuracy"] * 14 == pytest.approx(round(last["accuracy"] * 14), abs=1e-4)


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--dataset", "imagenette", "--archive", "absent.tgz"], "absent.tgz"),
        (["--dataset", "folder", "--data-dir", "absent"], "absent"),
        (["--dataset", "folder"], "`--data-dir`"),
        (["--batch-size", "100000"], "batch"),
        (["--dataset", "cifar"], "--dataset"),
        (["--epoch", "3"], "--epoch"),
        (["--lr", "-1"], "--lr"),
        (["--momentum", "2"], "--momentum"),
        (["--clip", "-1"], "--clip"),
        (
            ["--sweep", "lr=1e-4"],
            "train.py: --sweep must be NAME=LOW:HIGH:N, for example lr=1e-4:1e-1:8",
        ),
        (["--sweep", ""], "got ''"),
        (["--sweep", "warmth=1:2:3"], "`warmth` must name one hyperparameter"),
        (["--sweep", "weight_decay=1:2:3", "--optimizer", "sgd"], "`weight_decay` must name"),
        (["--sweep", "b1=0.5:2:3"], "`b1` must be in [0, 1); got 1"),
        (["--sweep", "momentum=0.5:2:3"], "`b1` must be in [0, 1)"),
        (["--sweep", "lr=1:2:3", "--schedule", "flat_cos"], "`--sweep` has no use for"),
        (["--model", "mlp", "--head=concat"], "got --head. Leave out"),
        (["--length", "3"], "`--model resnet34` has no use for some options; got --length"),
        (["--model", "lstm", "--size", "5", "--shift", "0.1"], "got --shift, --size."),
        (["--find-lr", "--epochs", "5"], "`--find-lr` has no use for"),
        (["--find-lr", "--lr", "1"], "`--find-lr` has no use for some options; got --lr."),
        (["--optimizer", "sgd", "--momentum=.5"], "`--optimizer sgd` has no use for"),
        (["--optimizer", "adam", "--weight-decay", "1"], "`--optimizer adam` has no use for"),
        (["--momentum", "0.8"], "`--schedule one_cycle` has no use for some options"),
        (
            ["--model", "lstm", "--no-flip"],
            "`--model lstm` has no use for some options; got --no-flip.",
        ),
        (["--size", "100000"], "`--size` must be in [1, 16384)"),
        (["--epochs", "1000000000000000000000"], "`--epochs` must be in [1, 2147483648)"),
        (["--seed", "-1"], "`--seed` must be in [0, "),
        (["--shift", "5"], "`--shift` must be in [0, 1)"),
        (["--sweep", "lr=1:2:3", "--find-lr"], "`--find-lr`"),
        (["--sweep", "lr=1:2:3", "--lr", "1"], "`--sweep` has no use for some options; got --lr."),
        (["--sweep", "lr=1:2:5000"], "N from 2 to 1000; got 'lr=1:2:5000'"),
        (["--sweep", "lr=1:2:3", "--model", "lstm"], "`--model lstm`"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_status_2(argv, said, tmp_path, capsys):
    try:
        status = script.main([*map(str, argv), "--out", str(tmp_path / "run")])
    except SystemExit as stop:  # argparse's way
        status = stop.code
    assert status == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_language_model_reports_perplexity(tmp_path):
    argv = ["--model", "lstm", "--epochs", 1, "--length", 5, "--limit-batches", 2]
    done = train(*argv, "--batch-size", 4, "--out", tmp_path)
    (remark,) = (line for line in done.stdout.splitlines() if "perplexity" in line)
    assert "372.4" in remark


@pytest.mark.thorough
def test_half_precision_scales_the_loss(tmp_path):
    argv = "--model resnet_tiny --epochs 1 --size 8 --limit-batches 3 --precision f16".split()
    train(*argv, "--out", tmp_path)
    losses = [line["loss"] for line in records(tmp_path) if line["kind"] == "step"]
    assert np.isfinite(losses).all()


@pytest.mark.thorough
def test_the_learning_rate_sweep_leaves_a_plot(tmp_path):
    done = train("--model", "mlp", "--size", 8, "--find-lr", "--out", tmp_path)
    names = [line.split()[0] for line in done.stdout.splitlines()[1:5]]
    assert names == ["minimum", "steep", "valley", "slide"]
    with Image.open(tmp_path / "lr_find.png") as image:
        assert image.format == "PNG" and image.width > 300


def test_a_loss_that_is_not_finite_ends_the_run_with_status_1(tmp_path):
    argv = "--model mlp --size 8 --limit-batches 30 --optimizer sgd --epochs 1".split()
    argv += "--schedule constant --lr 3e38".split()
    done = train(*argv, "--out", tmp_path, status=1)
    assert "not finite" in done.stderr and "lower the learning rate" in done.stderr


def test_a_sweep_leaves_a_table_a_plot_and_its_figures(tmp_path):
    argv = "--sweep lr=1e-3:1e-1:3 --epochs 2 --limit-batches 40".split()
    done = train(*argv, "--out", tmp_path)
    header, *lines = done.stdout.splitlines()[1:5]
    assert header.split() == ["learning_rate", "train_loss", "valid_loss", "accuracy"]
    assert [line.split()[0] for line in lines] == ["0.001", "0.01", "0.1"]
    written = json.loads((tmp_path / "sweep.json").read_text())
    best = written["best"]
    assert written["valid_loss"][best] == min(written["valid_loss"]) < 1.2  # by chance: 2.3
    assert ["best" in line for line in lines] == [i == best for i in range(3)]
    assert json.loads((tmp_path / "config.json").read_text())["model"] == "mlp"
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.format == "PNG" and image.width > 300


@pytest.mark.thorough
def test_a_sweep_of_momentum_on_photos_validates_each_once(folder, tmp_path):
    argv = ["--dataset", "folder", "--data-dir", folder, "--model", "mlp", "--epochs", 1]
    argv += ["--batch-size", 8, "--size", 8, "--optimizer", "rmsprop", "--out", tmp_path]
    train(*argv, "--sweep", "momentum=0.5:0.9:2")
    right = 14 * np.array(json.loads((tmp_path / "sweep.json").read_text())["accuracy"])
    np.testing.assert_allclose(right, np.round(right), atol=1e-4)


@pytest.mark.thorough
def test_a_sweep_in_which_nothing_stays_finite_has_status_1(tmp_path):
    argv = "--sweep lr=1e30:1e35:2 --optimizer sgd --epochs 1 --limit-batches 4".split()
    assert "stayed finite" in train(*argv, "--out", tmp_path, status=1).stderr
    assert json.loads((tmp_path / "sweep.json").read_text())["valid_loss"] == [None, None]


@pytest.mark.parametrize(
    "optimizer, names",
    [
        ("adamw", {"b1", "b2", "eps", "eps_root", "weight_decay"}),
        ("adam", {"b1", "b2", "eps", "eps_root"}),
        ("sgd", set()),
        ("momentum", {"momentum", "weight_decay"}),
        ("rmsprop", {"momentum", "decay", "eps", "weight_decay"}),
    ],
)
def test_the_numbers_of_each_optimizer_are_runtime_hyperparameters(optimizer, names):
    options = script.TrainOptions(optimizer=optimizer, momentum=0.7, lr=0.25)
    state = script.make_optimizer(options).init({"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)})
    values = gradtx.hyperparams(state)
    assert values.keys() == names | {"learning_rate"}
    assert float(values["learning_rate"]) == 0.25
    for name in {"b1", "momentum"} & names:
        assert float(values[name]) == pytest.approx(0.7)


def test_rmsprop_has_momentum_on_the_gradient():
    options = script.TrainOptions(optimizer="rmsprop", momentum=0.5, lr=0.25, weight_decay=0.0)
    tx = script.make_optimizer(options)
    params = {"kernel": jnp.ones((1, 1))}
    state, velocity, square = tx.init(params), 0.0, 0.0
    for grad in (1.0, -3.0, 0.5):
        updates, state = tx.update({"kernel": jnp.full((1, 1), grad)}, state, params)
        velocity, square = 0.5 * velocity + grad, 0.99 * square + 0.01 * grad**2
        want = -0.25 * velocity / (np.sqrt(square) + 1e-8)
        np.testing.assert_allclose(updates["kernel"][0, 0], want, rtol=1e-5)


@pytest.mark.parametrize(
    "argv, norm, rate",
    [
        ("", None, 2e-3),
        ("--model lstm", 1.0, 8e-3),
        ("--model lstm --clip 2 --lr 1", 2.0, 1.0),
        ("--clip 0.5", 0.5, 2e-3),
    ],
)
def test_the_language_model_has_defaults_of_its_own(argv, norm, rate):
    options = parse(script.TrainOptions, argv.split())
    assert (options.clip_norm, options.learning_rate) == (norm, rate)


SITE = "import os; print(os.environ.get('GLIBC_TUNABLES'), flush=True)"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_the_process_starts_again_for_huge_pages_and_ends_with_the_status(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SITE)  # imported by each start of the interpreter
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    environment.pop("GLIBC_TUNABLES", None)
    command = [sys.executable, "train.py", "--lr", "-1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.split() == ["None", "glibc.malloc.hugetlb=1"]
    assert (
        done.stderr.startswith("error: train.py: `--lr` must be") and done.stderr.count("\n") == 1
    )
