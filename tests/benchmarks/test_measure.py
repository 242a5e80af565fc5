"""Rounds, ratios and comparisons."""

import json

import numpy as np
import pytest

from benchmarks import measure


def test_rounds_call_all_in_turn_and_keep_the_first_apart():
    calls = []
    runs = {name: lambda name=name: (calls.append(name), len(calls))[1] for name in "ab"}
    found = measure.rounds(runs, 3)
    assert calls == list("abbaabba")
    assert found.returned == {"a": [1, 4, 5, 8], "b": [2, 3, 6, 7]}
    assert found.wall.keys() == found.cpu.keys() == found.first.keys() == {"a", "b"}
    assert {len(x) for x in (*found.wall.values(), *found.cpu.values())} == {3}
    assert measure.rounds(runs, 1, keep=False).returned == {"a": [], "b": []}


def test_a_ratio_is_the_median_within_rounds():
    seconds = {"slow": [2.0, 30.0, 8.0], "fast": [1.0, 10.0, 2.0]}
    assert measure.ratio(seconds, "slow", "fast") == 3.0
    assert measure.least_ratio(seconds, "slow", "fast") == 2.0
    assert measure.medians(seconds) == {"slow": 8.0, "fast": 2.0}
    assert measure.spread([3.0]) == {
        "median_s": 3.0,
        "quartiles_s": [3.0, 3.0],
        "min_s": 3.0,
        "n": 1,
    }


def test_differences_are_relative_to_the_leaf():
    expected = {"w": np.array([100.0, 0.0]), "b": np.array([0.5])}
    near = {"w": np.array([100.0, 0.1]), "b": np.array([0.5])}
    assert measure.check_close("here", near, expected, tolerance=1e-2) == pytest.approx(1e-3)
    assert measure.check_close("here", {"z": np.zeros(2)}, {"z": np.zeros(2)}, tolerance=0) == 0
    with pytest.raises(AssertionError, match=r"here: .* within 0\.0001 .* got 0\.001"):
        measure.check_close("here", near, expected, tolerance=1e-4)
    with pytest.raises(AssertionError, match="got nan"):
        measure.check_close("here", {"w": np.array([np.nan])}, {"w": np.ones(1)}, tolerance=1)


@pytest.mark.parametrize(
    ("relation", "target", "reached", "met"),
    [("<=", 1.0, 0.9, True), ("<=", 1.0, 1.1, False), (">=", 5.0, 4.9, False), ("", None, 1, None)],
)
def test_a_row_says_whether_the_target_is_met(relation, target, reached, met):
    row = measure.row("1", "time", relation, target, reached, unit=" s")
    assert row["met"] is met
    assert row["target"] == (None if target is None else f"{relation} {target:g} s")
    assert row["reached"] == f"{reached:g} s"


def test_a_result_says_how_and_where_it_was_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    out = tmp_path / "new" / "x.json"
    rows = [measure.row("1", "time", "<=", 2.0, 1.0, note="a note")]
    result = measure.finish("x", ["--out", out], out, {"rows": rows})
    assert capsys.readouterr().out == "time: 1 (target <= 2) a note\n"
    assert json.loads(json.dumps(result)) == json.loads(out.read_text())
    assert result["command"] == f"python -m benchmarks.x --out {out}"
    assert result["settings"]["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
    assert result["benchmark"] == "x" and {"python", "jax"} <= result["versions"].keys()


def test_the_name_of_the_processor(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nmodel name\t: Some CPU: fast\nmodel name\t: other\n")
    assert measure.cpu_model(path) == "Some CPU: fast"
    assert isinstance(measure.cpu_model(tmp_path / "none"), str)
