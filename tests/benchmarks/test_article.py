"""The article's trainings: their optimizers against the chapter's arithmetic, and the command."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks import article, article_report

GRADS = (1.0, -3.0, 0.5, 0.25)


def chapter(name, rate):
    """The parameter's path from 2 in float64, written as the chapter writes its steps."""
    p, avg, sqr, path = 2.0, 0.0, 0.0, []
    for i, g in enumerate(GRADS, 1):
        if name in ("sgd", "generic_sgd"):
            p -= rate * g
        elif name == "momentum":
            avg = avg * 0.9 + g
            p -= rate * avg
        elif name == "rmsprop":
            sqr = 0.99 * sqr + 0.01 * g**2
            p -= rate * g / (math.sqrt(sqr) + 1e-7)
        else:
            p *= 1 - rate * 0.01 if name == "adam" else 1
            avg, sqr = 0.9 * avg + 0.1 * g, 0.99 * sqr + 0.01 * g**2
            p -= rate * avg / (1 - 0.9**i) / (math.sqrt(sqr / (1 - 0.99**i)) + 1e-5)
        path.append(p)
    return path


@pytest.mark.parametrize("name", article.TRAININGS)
def test_each_optimizer_is_the_chapters(name):
    tx = article.TRAININGS[name].make(0.1)
    params, got = {"kernel": jnp.full((1, 1), 2.0)}, []
    state = tx.init(params)
    for g in GRADS:
        updates, state = tx.update({"kernel": jnp.full((1, 1), g)}, state, params)
        params = {"kernel": params["kernel"] + updates["kernel"]}
        got.append(float(params["kernel"][0, 0]))
    np.testing.assert_allclose(got, chapter(name, 0.1), rtol=1e-5)


def test_the_articles_figures_belong_to_its_tables_in_their_order():
    given = [t.article for t in article.TRAININGS.values()]
    assert given == [0.567, 0.4448, 0.4425, 0.4851, 0.4968, None]


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
