"""The tables of benchmarks/README.md."""

import json

import pytest

from benchmarks import report
from benchmarks.record import row

RESULT = {
    "benchmark": "x",
    "command": "python -m benchmarks.x",
    "cpu": "Some CPU",
    "cpus": 2,
    "device": "cpu",
    "load_average": [3.0, 1.2, 2.0],
    "commit": "abc1234",
    "versions": {"python": "3.11", "jax": "1", "jaxlib": "1"},
    "settings": {"GLIBC_TUNABLES": "a=1"},
    "rows": [
        row("fast", "<=", 1.0, 0.5, note="0.1 s | 0.2 s"),
        row("slow", "<=", 1.0, 2.0),
        row("free", "", None, 1.5),
    ],
}


def test_rows_stand_beside_their_targets():
    assert report.targets([RESULT]).splitlines()[2:] == [
        r"| x | fast | <= 1 | 0.5 | yes | 0.1 s \| 0.2 s |",
        "| x | slow | <= 1 | 2 | **no** |  |",
        "| x | free |  | 1.5 |  |  |",
    ]


def test_how_and_where_a_result_was_made():
    last = report.commands([RESULT]).splitlines()[-1]
    assert last == (
        "| x | `python -m benchmarks.x` | abc1234 | Some CPU, 2 cores; load 1-3"
        " | python 3.11, jax 1 | `GLIBC_TUNABLES=a=1` |"
    )


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    (tmp_path / "x.json").write_text(json.dumps(RESULT))
    argv = [str(tmp_path / "x.json"), "--readme", str(readme)]
    assert report.main([*argv, "--check"]) == 1
    assert "old" in readme.read_text()
    assert report.main(argv) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert report.main([*argv, "--check"]) == 0


@pytest.mark.parametrize("text", ["", report.BEGIN, f"{report.END} {report.BEGIN}"])
def test_a_file_without_the_marks_is_an_error(text):
    with pytest.raises(ValueError, match=r"report: the file must hold"):
        report.replaced(text, "new")


def test_the_tables_are_of_the_committed_results():
    assert report.main(["--check"]) == 0
