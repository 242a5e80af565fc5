"""The record of a benchmark: rows, commit, machine, file."""

import json
import subprocess

import pytest

from benchmarks import record


@pytest.mark.parametrize(
    ("relation", "target", "reached", "met"),
    [("<=", 1.0, 0.9, True), ("<=", 1.0, 1.1, False), (">=", 5.0, 4.9, False), ("", None, 1, None)],
)
def test_a_row_says_whether_the_target_is_met(relation, target, reached, met):
    row = record.row("time", relation, target, reached, unit=" s")
    assert row["met"] is met
    assert row["target"] == (None if target is None else f"{relation} {target:g} s")
    assert row["reached"] == f"{reached:g} s"


def test_large_numbers_are_written_out():
    row = record.row("images/s", ">=", 20000.0, 21234.5)
    assert (row["target"], row["reached"]) == (">= 20,000", "21,234")


def test_a_result_says_how_and_where_it_was_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    out = tmp_path / "new" / "x.json"
    rows = [record.row("time", "<=", 2.0, 1.0, note="a note")]
    result = record.finish("x", ["--out", out], out, {"rows": rows})
    assert capsys.readouterr().out == "time: 1 (target <= 2) a note\n"
    assert json.loads(json.dumps(result)) == json.loads(out.read_text())
    assert result["command"] == f"python -m benchmarks.x --out {out}"
    assert result["settings"]["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
    assert result["benchmark"] == "x" and {"python", "jax"} <= result["versions"].keys()


def test_the_name_of_the_processor(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nmodel name\t: Some CPU: fast\nmodel name\t: other\n")
    assert record.cpu_model(path) == "Some CPU: fast"
    assert isinstance(record.cpu_model(tmp_path / "none"), str)


def test_the_commit_and_whether_the_code_is_that_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ROOT", tmp_path)
    assert record.commit() == ""
    who = ["-c", "user.name=x", "-c", "user.email=x"]
    git = lambda *words: subprocess.run(["git", "-C", tmp_path, *who, *words], check=True)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    head = record.commit()
    assert len(head) >= 7
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "x.json").write_text("{}")
    assert record.commit() == head  # the records themselves do not count
    (tmp_path / "code.py").write_text("")
    assert record.commit() == f"{head} (changed)"
