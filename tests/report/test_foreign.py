"""Directories that gradtx has not written, or that lack files: a page of what there is."""

import json
import math

import numpy as np
import pytest

from gradtx.report import count_faults, read_run, report_page, write_comparison, write_report
from gradtx.report.__main__ import main
from gradtx.report.curves import overlay, run_curves
from tests.report.made import CLASSES, Page, make_run, make_search, write_lines


def page_of(run):
    return Page(write_report(run).read_text())


@pytest.fixture
def run(tmp_path):
    """Metrics as another program writes them."""
    (tmp_path / "run").mkdir()
    records = [
        {"step": 0, "train/loss": 2.0, "lr": {"body": 0.1, "head": 0.2}, "note": "begun"},
        {"step": 10, "train/loss": math.nan, "lr": {"body": 0.1, "head": 0.2}, "ok": True},
        {"step": 10, "val/loss": 1.5, "per_class": [0.1, 0.2]},
        {"step": 20, "train/loss": "Infinity", "val/loss": 1.25, "big": 10**400},
    ]
    write_lines(tmp_path / "run" / "metrics.jsonl", records)
    return tmp_path / "run"


def test_every_number_has_its_curve_over_the_field_that_says_where(run):
    found = read_run(run)
    curves = run_curves(found)
    assert found.axis == "step" and list(curves) == ["loss", "lr/body", "lr/head", "ok", "big"]
    assert list(curves["loss"]) == ["training", "validation"]
    x, y = curves["loss"]["training"]
    assert x.tolist() == [0, 10, 10, 20]
    np.testing.assert_array_equal(y, [2.0, np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(curves["loss"]["validation"][1], [np.nan, np.nan, 1.5, 1.25])


def test_what_is_left_out_is_said(run):
    text = page_of(run).text
    assert "4 lines of metrics, written by another program" in text
    assert "no numbers: note (text), per_class (lists)." in text
    assert "NaN, infinite or null, and are left out: train/loss (2), big (1)." in text
    for name in ("config.json", "faults.json", "metrics.times.jsonl", "validation.npz"):
        assert f"No {name}: " in text


def test_lines_that_cannot_be_read_are_counted_and_named(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_bytes(
        "\n".join([*lines[:1], "oops", "[1]", "", *lines[1:], '{"st']).encode() + b"\xff"
    )
    text = page_of(run).text
    assert (
        "2 lines of metrics.jsonl cannot be read and are left out; the first is line 2: 'oops'"
        in text
    )
    assert "The last line of metrics.jsonl, 8, is cut short; it is left out." in text


@pytest.mark.parametrize(
    ("records", "axis", "places"),
    [
        ([{"loss": 1.0}, {"loss": 2.0}], "line", [1, 2]),
        ([{"epoch": 3, "loss": 1.0}, {"epoch": 4, "loss": 2.0}], "epoch", [3, 4]),
        ([{"_step": 5, "loss": 1.0}, {"loss": 2.0}], "_step", [5, 5]),
        ([{"step": "x", "loss": 1.0}, {"step": None, "loss": 2.0}], "step", [0, 0]),
    ],
)
def test_where_a_line_stands(run, records, axis, places):
    write_lines(run / "metrics.jsonl", records)
    found = read_run(run)
    assert found.axis == axis
    assert run_curves(found)["loss"][""][0].tolist() == places
    assert f"loss over {axis}: loss" in report_page(found)


def test_a_line_without_a_loss_is_no_fault(run):
    records = [{"step": k, "loss": None if k == 2 else 1.0} for k in range(6)]
    write_lines(
        run / "metrics.jsonl", [x for k in records for x in (k, {"step": k["step"], "a": 1})]
    )
    counts = count_faults(read_run(run))
    assert counts["steps without a finite loss"] == 1


def test_what_only_has_our_names_is_left_out_with_a_line(run):
    for name, text in (("config.json", "[]"), ("data.json", "{"), ("validation.npz", "x")):
        (run / name).write_text(text)
    text = page_of(run).text
    assert text.count("is not what a run of gradtx writes") == 3


@pytest.mark.parametrize("text", ["", "\n\n", "{}\n", '{"note": "x"}\n', '{"step": 1}\n'])
def test_metrics_without_a_number_have_a_page(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    page = page_of(tmp_path)
    assert "No metrics yet." in page.text or "No finite value yet." in page.text or not text
    assert "No config.json" in page.text


def test_a_run_that_lacks_all_but_its_metrics(tmp_path):
    run = make_run(tmp_path / "run")
    for path in run.iterdir():
        if path.name != "metrics.jsonl":
            path.unlink()
    page = page_of(run)
    assert "A run, 2 epochs. Best epoch, by the greatest accuracy, is 1" in page.text
    assert "Not known." in page.text
    found = read_run(run)
    assert found.foreign is None and "learning rate" in run_curves(found)


def test_runs_of_several_kinds_are_compared(run, tmp_path):
    own = make_run(tmp_path / "own")
    curves = overlay({"own": read_run(own), "theirs": read_run(run)})
    assert {"own"} == set(curves["accuracy"]) and {"theirs"} == set(curves["loss, training"])
    page = Page(write_comparison([own, run], tmp_path / "x.html").read_text())
    assert "Some runs' curves are over step instead." in page.text
    assert "theirs" not in page.text and "run: No config.json" in page.text.replace("\u2068", "")


def test_an_option_and_a_field_of_one_name_are_not_mixed_up(tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for k, path in enumerate(runs):
        path.mkdir()
        lines = [{"step": s, "lr": 10.0**-k * s, "x": 7, "val/loss": 3 + k + s} for s in range(3)]
        (path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        (path / "config.json").write_text(json.dumps({"lr": 10.0**-k, "width": 8}))
    page = Page(write_comparison(runs, tmp_path / "x.html").read_text())
    assert "a: lr 1, val/loss 5, x 7" in page.text  # not the lr of the last step; x tells nothing
    assert "1 option with one value in all runs" in page.text


def test_neither_metrics_nor_a_search_is_one_line(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main([str(tmp_path)]) == 2
    assert "metrics.jsonl must be there; got nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lineage.json", "sweep.json"])
def test_a_search_that_does_not_fit_together_is_one_line(tmp_path, capsys, name):
    (tmp_path / name).write_text(json.dumps({"members": 2, "rounds": [{}], "a": [1], "b": [1, 2]}))
    assert main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name} must be what a run wrote; got entries that do not fit together" in line


def test_a_sweep_has_a_line_for_each_copy(tmp_path):
    sweep = {"learning_rate": [0.001, 0.1, 1e4], "valid_loss": [2.0, 1.0, None], "best": 1}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep | {"epochs": 2}))
    page = page_of(tmp_path)
    entries = [x for x in page.all("path") if "entry" in x.get("class", "")]
    assert ["best" in x["class"] for x in entries] == [False, False, True]  # it is drawn on top
    assert "copy 1, the best: learning_rate 0.1, valid_loss 1" in page.text
    assert page.cells[page.cells.index("1e+04") + 1 if "1e+04" in page.cells else -1] == "-"


def test_a_lineage_is_a_tree(tmp_path):
    page = page_of(
        make_search(tmp_path / "run", members=6, rounds=5, mode="max", metric="accuracy")
    )
    nodes = [x for x in page.all("circle") if "node" in x.get("class", "")]
    edges = [x for x in page.all("path") if "edge" in x.get("class", "").split()]
    assert len(nodes) == 30
    assert len(edges) == 4 * 5  # member 0 is begun anew
    taken = [x for x in edges if x["data-from"].split()[1] != x["data-to"].split()[1]]
    assert all(x["data-to"].endswith(" 5") for x in taken)
    best = sum("best" in x["class"] for x in nodes)
    assert best == 5 and "The best of the last round is member 5" in page.text
    assert "round 1, step 20, member 0: score " in page.text and "begun anew" in page.text


def test_a_lineage_that_does_not_say_what_is_better_names_no_best(tmp_path):
    page = page_of(make_search(tmp_path / "run"))
    assert "The best of the last round" not in page.text
    assert not [x for x in page.all("circle") if "best" in x.get("class", "")]


def test_metrics_by_class_and_confusions_that_were_logged(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "validation.npz").unlink()
    row = {"kind": "epoch", "step": 7, "epoch": 9, "f1_per_class": [0.5, None, 0.25]}
    row |= {"train_accuracy": 0.5, "confusion_matrix": [[5, 1, 0], [0, 7.5, 0], [2, 0, 9]]}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    page = page_of(run)
    where = page.cells.index("f1_per_class")
    assert page.cells[where + 1 : where + 7] == [
        CLASSES[2],
        "0.250",
        CLASSES[0],
        "0.500",
        CLASSES[1],
        "-",
    ]
    assert "Metric confusion_matrix" in page.text and "7.5" in page.cells
    assert list(run_curves(read_run(run))["accuracy"]) == ["validation", "training"]


def test_health_is_by_layer(tmp_path):
    run = make_run(tmp_path / "run")
    lines = []
    for step in range(40):
        record = {"kind": "step", "step": step, "epoch": 0, "loss": 1.0, "train_loss": 1.0}
        if step % 10 == 0:
            record |= {f"health/grad_norm/a.{k}": step + k for k in range(3)}
            record["health/share/decay"] = 0.5
            record["health/histogram/grads/a.0"] = [0] * 30 + [step, 3] + [0] * 39
        lines.append(record)
    write_lines(run / "metrics.jsonl", lines)
    page = page_of(run)
    assert "grad norm over steps: a.0, a.1, a.2" in str(page.seen)
    where = page.cells.index("layer")
    assert page.cells[where : where + 8] == [
        "layer",
        "grad norm",
        *("a.0", "30", "a.1", "31", "a.2", "32"),
    ]
    (image,) = (x for x in page.all("img") if x["alt"].startswith("histograms"))
    assert image["alt"] == "histograms of a.0 over time"
    assert "health/grad_norm" not in page.text


def test_times_are_those_of_the_file_in_units_one_can_read(tmp_path):
    run = make_run(tmp_path / "run")
    lines = [{"kind": "epoch", "step": 10 * k, "epoch": k - 1, "time": 2.0 / k} for k in (1, 2, 3)]
    write_lines(run / "metrics.times.jsonl", lines)
    page = page_of(run)
    assert "the first one's with the compilation: 2 s, later ones 0.8333 s; so" in page.text
    where = page.cells.index("ms a step")
    assert page.cells[where - 3 : where + 1] == ["epoch", "steps", "seconds", "ms a step"]
    assert page.cells[where + 1 : where + 5] == ["0", "10", "2", "200"]
    more = {"step_time": 0.002, "examples_per_s": 16e3, "compile_time": 1.5, "utilisation": 0.25}
    write_lines(run / "metrics.times.jsonl", [lines[0] | more, *lines[1:]])
    page = page_of(run)
    assert "with the compilation: 1.5 s." in page.text
    where = page.cells.index("% of the peak")
    assert page.cells[where + 1 : where + 8] == ["0", "10", "2", "2", "16,000", "1.5", "25"]
    assert page.cells[where + 8 : where + 15] == ["1", "10", "1", "-", "-", "-", "-"]
