"""The page of a run and of several: what is on it, that it needs nothing else, and bad runs."""

import base64
import hashlib
import json
import math
import re
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gradtx.loop import History
from gradtx.report import (
    Run,
    Validation,
    count_faults,
    read_run,
    read_validation,
    report_page,
    validate,
    write_comparison,
    write_report,
)
from gradtx.report.__main__ import main
from gradtx.report.curves import best_row, overlay, run_curves
from gradtx.report.page import confusions
from tests.report.made import CLASSES, Page, make_run

ODD = {name: np.zeros(()) for name in ("labels", "probabilities", "worst", "images")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    return make_run(base / "a&b"), make_run(base / "c", seed=1, lr=0.3)


@pytest.fixture(scope="module")
def text(runs):
    return write_report(runs[0]).read_text()


def test_it_needs_no_other_file_and_no_network(text):
    page = Page(text)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.seen}
    sources = [attrs[name] for _, attrs in page.seen for name in ("src", "href") if name in attrs]
    assert sources and all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"url\(|@import", text)
    images = page.all("img")
    assert images and all(image["alt"] for image in images)
    names = [attrs.get("name") for attrs in page.all("meta")]
    assert "viewport" in names


def test_only_its_own_two_scripts_may_run(text):
    """The rest of what is called a script is data."""
    (policy,) = (x["content"] for x in Page(text).all("meta") if "http-equiv" in x)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = set(re.findall(r"'sha256-([^']*)'", policy))
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    digest = lambda body: base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    run = [digest(body) for kind, body in scripts if "json" not in kind]
    assert len(run) == 2 and set(run) == allowed
    data = [json.loads(body) for kind, body in scripts if "json" in kind]
    assert [plot["title"] for plot in data][:2] == ["loss", "accuracy"]


def test_names_are_text_never_markup(text):
    page = Page(re.sub("<script.*?</script>", "", text, flags=re.DOTALL))
    for name in CLASSES:
        assert name in page.text
    assert all("onload" not in attrs for _, attrs in page.seen)
    assert "<b>cat" not in text and "<i>" not in text and "<a>" not in text
    assert page.text.count("a&b")
    assert "folder: <a>.jpg cannot be read" in page.cells


def test_all_curves_are_there_with_the_runs_numbers(runs):
    curves = run_curves(read_run(runs[0]))
    assert list(curves) == ["loss", "accuracy", "learning rate", "momentum (b1)", "gradient norm"]
    x, y = curves["loss"]["training, each step"]
    np.testing.assert_array_equal(x, np.arange(1, 7))
    np.testing.assert_array_equal(y, [1, 1, np.nan, 1, 9, 1])
    x, y = curves["accuracy"]["validation"]
    assert (x.tolist(), y.tolist()) == ([3, 6], [0.25, 0.5])
    assert curves["learning rate"]["head"][1].tolist() == [0.2] * 6
    assert curves["gradient norm"][""][1].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "config, want",
    [
        ({"momentum_names": ["beta"]}, ["muon.learning rate", "muon.momentum (beta)"]),
        ({"momentum_names": ["momentum"]}, ["muon.learning rate", "momentum"]),
        ({}, ["muon.learning rate"]),
    ],
)
def test_the_momentum_is_what_the_run_says(config, want):
    steps = {name: np.ones(2) for name in ("momentum", "muon.beta", "muon.learning_rate")}
    history = History([], steps | {"loss": np.ones(2), "train_loss": np.ones(2)})
    assert list(run_curves(Run("x", config, history))) == ["loss", *want]


def test_the_best_epoch_is_not_guessed_from_a_metrics_name():
    """A greater accuracy is better; of another metric nobody knows, so the loss decides."""
    rows = [
        {"epoch": 0, "valid_loss": 2.0, "error": 0.5, "accuracy": 0.4},
        {"epoch": 1, "valid_loss": 1.0, "error": 0.3, "accuracy": 0.3},
    ]
    epoch = lambda *names: (best_row(History(rows), names) or {})["epoch"]
    assert (epoch("error"), epoch(), epoch("error", "accuracy")) == (1, 1, 0)


def test_there_is_a_drawing_for_each_curve(text):
    kinds = [a["src"].split(";")[0] for a in Page(text).all("img")]
    assert kinds == ["data:image/png"] * 2
    charts = [a for a in Page(text).all("svg") if a.get("class") == "chart"]
    assert [a["aria-label"].split(" over ")[0] for a in charts] == [
        *("loss", "accuracy", "learning rate", "momentum (b1)", "gradient norm")
    ]


def test_the_worst_images_come_with_their_probabilities(runs, text):
    found = read_validation(runs[0] / "validation.npz")
    own = found.probabilities[np.arange(6), found.labels]
    image = Page(text).all("img")[0]
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(image["src"].split(",")[1]))))
    np.testing.assert_array_equal(pixels[..., :3], found.images[0])
    assert f"{CLASSES[found.labels[found.worst[0]]]} {own.min():.1%}: " in Page(text).text


def test_the_confusion_matrix_counts_every_image(runs, text):
    found = read_validation(runs[0] / "validation.npz")
    want = np.zeros((3, 3), int)
    for label, p in zip(found.labels, found.probabilities, strict=True):
        want[label, np.argmax(p)] += 1
    np.testing.assert_array_equal(found.confusion(), want)
    cells = Page(text.partition('id="confusions"')[2].partition("</section>")[0]).cells
    start = cells.index(CLASSES[0], cells.index(CLASSES[2]) + 1)  # after the header
    rows = [cells[start + 4 * i + 1 : start + 4 * i + 4] for i in range(3)]
    assert [[int(c or 0) for c in row] for row in rows] == want.tolist()


@pytest.mark.parametrize("constant", [-1000.0, -3.0, 0.0, 7.0])
def test_a_constant_added_to_the_loss_changes_no_count_of_spikes(constant):
    loss = 2.3 * 0.99 ** np.arange(400) + np.random.default_rng(0).normal(size=400) * 0.05
    loss[[50, 300]] += 2.0, 1.0
    steps = {"loss": np.float32(loss + constant), "train_loss": np.ones(400)}
    counted = count_faults(Run("x", {}, History([], steps)))
    assert [n for kind, n in counted.items() if "spikes" in kind] == [2]


def test_faults_are_counted(runs):
    assert list(count_faults(read_run(runs[0])).values()) == [1, 1, 0, 1, 1, 3]
    empty = Run("x", {}, History())
    assert set(count_faults(empty).values()) == {0}


def test_a_class_without_images_and_many_classes(runs):
    run = read_run(runs[0])
    many = np.full((3, 40), 1 / 40, np.float32)
    validation = Validation(
        np.int32([0, 5, 5]), many, np.zeros(0, np.int32), run.validation.images[:0]
    )
    whole = Run("x", {}, run.history, validation=validation)
    page = Page(report_page(whole))
    assert not [a for a in page.all("table") if a.get("class") == "matrix"]
    where = page.cells.index("taken for") + 2  # "images" is between
    assert page.cells[where : where + 3] == ["5", "0", "2"]


def test_a_page_needs_no_extra(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradtx.drawing.figure", None)  # which imports matplotlib
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "Most wrong" in report_page(read_run(runs[0]))


def test_a_run_under_way_has_a_page_of_what_there_is(tmp_path):
    run = make_run(tmp_path / "young", steps=2)
    for name in ("validation.npz", "data.json", "faults.json", "skipped.jsonl"):
        (run / name).unlink()
    page = Page(write_report(run).read_text())
    assert "no epoch has ended" in page.text and "Confusions" not in page.text
    assert "No faults.json: the run has not ended" in page.text
    assert "No validation.npz: no predictions" in page.text and "No config.json" not in page.text
    (run / "metrics.jsonl").write_text("")
    assert "Curves" in Page(write_report(run).read_text()).text


def test_a_comparison_lays_runs_over_each_other(runs, tmp_path):
    path = write_comparison(runs, tmp_path / "both.html")
    page = Page(path.read_text())
    curves = overlay({run.name: read_run(run) for run in runs})
    assert all(list(lines) == ["a&b", "c"] for lines in curves.values())
    assert curves["learning rate, head"]["c"][1][0] == pytest.approx(0.6)
    charts = [a for a in page.all("svg") if a.get("class") == "chart"]
    assert len(charts) == len(curves) == 7
    where = page.cells.index("lr")
    assert page.cells[where : where + 3] == ["lr", "0.1", "0.3"]
    assert page.cells.index("model") > page.cells.index("out")  # the same in both: folded away
    twice = write_comparison([runs[0], runs[0]], tmp_path / "twice.html")
    assert str(runs[0]) in Page(twice.read_text()).text


def test_the_command(runs, tmp_path, capsys):
    assert main([str(runs[0])]) == 0
    assert capsys.readouterr().out == f"Written: {runs[0] / 'report.html'}\n"
    assert main([*map(str, runs), "--out", str(tmp_path / "x.html")]) == 0
    assert Page((tmp_path / "x.html").read_text())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "config.json").write_text("[]"), "config.json must be what a run"),
        (lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl must be there"),
        (lambda run: (run / "metrics.jsonl").write_text("x\n"), "must have the lines"),
        (lambda run: (run / "metrics.jsonl").write_bytes(b"\xff"), "metrics.jsonl must have"),
        (lambda run: (run / "skipped.jsonl").write_text("{}\n"), "skipped.jsonl must have"),
        (lambda run: (run / "skipped.jsonl").write_text("x\n"), "skipped.jsonl must have"),
        (lambda run: (run / "validation.npz").write_bytes(b"PK"), "validation.npz must be what"),
        (lambda run: (run / "validation.npz").write_text("text"), "validation.npz must be what"),
        (lambda run: np.savez(run / "validation.npz", **ODD), "got arrays that do not fit"),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path, capsys, spoil, said):
    run = make_run(tmp_path / "run")
    spoil(run)
    assert main([str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(("error: report: ", "error: jsonl: ", "error: skipped: "))
    assert said in line and "pickle" not in line
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [([], "arguments are required: RUN"), (["x", "--ou", "y"], "unrecognized arguments: --ou y")],
)
def test_a_wrong_command_line_is_one_line(capsys, argv, said):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: gradtx report: ") and line.endswith(" See --help.")
    assert said in line


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: gradtx report [-h] [--out OUT] RUN")


@pytest.mark.parametrize("what", ["under a file", "a folder", "absent"])
def test_a_page_that_cannot_be_written_is_one_line_and_leaves_nothing(runs, tmp_path, capsys, what):
    (tmp_path / "file").write_text("")
    (tmp_path / "a folder").mkdir()
    place = {"under a file": tmp_path / "file" / "x", "absent": tmp_path / "absent" / "x"}
    path = place.get(what, tmp_path / "a folder")
    assert main([str(runs[0]), "--out", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: report: {path} must be a file that can be written; got ")
    assert "Errno" not in line and line.endswith(".")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a folder", "file"]


def test_validation_is_of_every_readable_image_once():
    """Batches of 4 with a filled-up last one; the class is the pixel value."""
    mean, std = (0.25,), (0.5,)
    rng = np.random.default_rng(0)
    labels = np.int32([0, 1, 2, 1, 0, 2, 1])
    p = rng.dirichlet(np.ones(3), 7).astype(np.float32)
    p[3] = [np.nan, np.nan, np.nan]
    image = ((40 * np.arange(7) / 255 - mean[0]) / std[0]).astype(np.float32)

    def batches():
        for rows, weight in (([0, 1, 2, 3], [1, 0, 1, 1]), ([4, 5, 6, 6], [1, 1, 1, 0])):
            yield {
                "image": np.broadcast_to(image[rows][:, None, None, None], (4, 2, 2, 1)),
                "label": labels[rows],
                "weight": np.float32(weight),
                "rows": rows,
            }

    got = validate(lambda batch: p[batch["rows"]], batches(), mean=mean, std=std, worst=3)
    kept = [0, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(got.labels, labels[kept])
    np.testing.assert_array_equal(got.probabilities, p[kept])
    own = np.nan_to_num(p[kept, labels[kept]], nan=-1)
    np.testing.assert_array_equal(got.worst, np.argsort(own)[:3])
    assert got.worst[0] == 2  # NaN is the worst
    np.testing.assert_array_equal(got.images[:, 0, 0, 0], 40 * np.array(kept)[got.worst])
    assert math.isclose(got.confusion().sum(), 6)
    assert got.predicted.tolist().index(-1) == 2 and sum(got.predicted < 0) == 1
    assert got.confusion()[:, -1].tolist() == [int(c == labels[3]) for c in range(3)]
    assert str(confusions(got, ("a", "b", "c"))[1]).count("none: NaN") == 1
