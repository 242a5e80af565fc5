"""The article's trainings: their optimizers against the chapter's arithmetic, and the command."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks import article, article_report
from tests.markdown import ROOT

GRADS = (1.0, -3.0, 0.5, 0.25)
RATE = 0.1


# The chapter's steps, one parameter in float64: rule(p, g, i, avg, sqr) gives p, avg and sqr.
def sgd(p, g, i, avg, sqr):
    return p - RATE * g, avg, sqr


def momentum(p, g, i, avg, sqr):
    avg = avg * 0.9 + g
    return p - RATE * avg, avg, sqr


def rmsprop(p, g, i, avg, sqr):
    sqr = 0.99 * sqr + 0.01 * g**2
    return p - RATE * g / (math.sqrt(sqr) + 1e-7), avg, sqr


def adam_by_hand(p, g, i, avg, sqr):
    avg, sqr = 0.9 * avg + 0.1 * g, 0.99 * sqr + 0.01 * g**2
    step = avg / (1 - 0.9**i) / (math.sqrt(sqr / (1 - 0.99**i)) + 1e-5)
    return p - RATE * step, avg, sqr


def adam(p, g, i, avg, sqr):
    return adam_by_hand(p * (1 - RATE * 0.01), g, i, avg, sqr)


CHAPTER = {
    "adam": adam,
    "sgd": sgd,
    "generic_sgd": sgd,
    "momentum": momentum,
    "rmsprop": rmsprop,
    "adam_by_hand": adam_by_hand,
}


@pytest.mark.parametrize("name", article.TRAININGS)
def test_each_optimizer_is_the_chapters(name):
    tx = article.TRAININGS[name].make(RATE)
    params, got, want = {"kernel": jnp.full((1, 1), 2.0)}, [], [(2.0, 0.0, 0.0)]
    state = tx.init(params)
    for i, g in enumerate(GRADS, 1):
        updates, state = tx.update({"kernel": jnp.full((1, 1), g)}, state, params)
        params = {"kernel": params["kernel"] + updates["kernel"]}
        got.append(float(params["kernel"][0, 0]))
        p, avg, sqr = want[-1]
        want.append(CHAPTER[name](p, g, i, avg, sqr))
    np.testing.assert_allclose(got, [p for p, _, _ in want[1:]], rtol=1e-5)


def test_the_page_has_the_same_trainings_and_figures():
    """docs/fastai.md was written from the chapter, apart from the benchmark."""
    text = (ROOT / "docs" / "fastai.md").read_text().split("## The chapter's trainings")[1]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    shown = lambda accuracy: "not given" if accuracy is None else f"{accuracy:g}"
    assert [(title, rate, reached) for title, rate, _, reached in rows] == [
        (training.title, f"{training.rate:g}", shown(training.article))
        for training in article.TRAININGS.values()
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("article") / "out"
    rng = np.random.default_rng(0)
    label = np.arange(128) % 2
    image = (rng.integers(0, 128, (128, 8, 8)) + 127 * label[:, None, None]).astype(np.uint8)
    data = out.parent / "data.npz"
    np.savez(data, x_train=image, y_train=label, x_test=image[:50], y_test=label[:50])
    argv = ["--tiny", "--dataset", "arrays", "--data-dir", str(data), "--size", "8"]
    argv += ["--epochs", "2", "--out", str(out), "--trainings", "sgd", "rmsprop"]
    assert article.main([*argv, "--seeds", "0"]) == 0
    return argv, out


@pytest.mark.thorough
def test_it_writes_a_table_with_the_articles_figures_beside(done):
    text = (done[1] / "article.md").read_text()
    assert "not the article's data" in text and "data.npz" in text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    sgd = next(row for row in rows if row[1:2] == ["SGD, one cycle, momentum 0"])
    assert sgd[2] == "0.03" and sgd[5] == "0.4448"
    result = json.loads((done[1] / "article.json").read_text())["results"][0]
    assert result["training"] == "sgd" and len(result["rows"]) == 2
    assert float(sgd[3]) == pytest.approx(result["rows"][-1]["accuracy"], abs=1e-4)
    assert "Suggested before SGD" in text and "Suggested before RMSProp" not in text
    assert result["steps"]["learning_rate"][0] == pytest.approx(0.03 / 25)
    for name in ("curves.png", "lr_find.png"):
        with Image.open(done[1] / name) as image:
            assert image.format == "PNG" and image.width > 300


@pytest.mark.thorough
def test_it_goes_on_where_it_stopped(done, capsys):
    argv, out = done
    path = out / "article.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"results": whole["results"][:1]}))
    assert article.main([*argv, "--seeds", "0", "1"]) == 0
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ", seed" in line]
    assert said[:3] == ["rmsprop, seed 0", "sgd, seed 1", "rmsprop, seed 1"]
    found = json.loads(path.read_text())["results"]
    assert found[0] == whole["results"][0]
    # The training that was made again came out the same.
    assert found[1]["steps"] == whole["results"][1]["steps"]
    assert article.main([*argv, "--seeds", "0", "1"]) == 0  # nothing left to do
    assert "seed 0: accuracy" not in capsys.readouterr().out


@pytest.mark.thorough
def test_other_settings_or_another_file_are_an_error(done, capsys):
    argv, out = done
    assert article.main([*argv, "--epochs", "3"]) == 2
    assert "got epochs=2 for 3" in capsys.readouterr().err
    for text in ("{", "[]", '{"settings": {}}'):
        (out / "other").mkdir(exist_ok=True)
        (out / "other" / "article.json").write_text(text)
        assert article.main([*argv, "--out", str(out / "other")]) == 2
        assert "must be what this command wrote" in capsys.readouterr().err


def test_a_training_that_diverged_has_no_accuracy():
    result = {
        "training": "rmsprop",
        "seed": 3,
        "failure": "the loss was not finite at step 7",
        "rows": [{"accuracy": 0.4}],
        "lr_find": None,
    }
    settings = {"dataset": "imagenette", "data": "Imagenette", "model": "mlp"}
    settings |= {"epochs": 3, "batch_size": 2, "size": 8}
    good = result | {"failure": None, "seed": 4}
    text = article_report.table(article.TRAININGS, [result, good], settings)
    assert "nan" in text and "3: nan, 4: 0.4000" in text
    assert "seed 3: the loss was not finite at step 7" in text and "not the article's" not in text
