"""The benchmark starts train.py, and sees its first step or why there is none."""

import json
import subprocess
import sys

import pytest

from benchmarks import startup


@pytest.mark.thorough  # train.py in two processes, as tests/run starts it
def test_tiny_run_writes_its_json(tmp_path):
    out = tmp_path / "startup.json"
    startup.main(["--tiny", "--repeats", "1", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["model"] == "mlp" and result["first_loss"] > 0
    assert {kind: len(values) for kind, values in result["seconds"].items()} == {
        "cold": 1,
        "warm": 1,
    }


@pytest.mark.thorough
def test_a_start_that_fails_says_what_it_wrote(tmp_path):
    args = startup.parse(["--model", "none"])
    with pytest.raises(RuntimeError, match=r"startup: .*invalid choice: 'none'"):
        startup.start(tmp_path, tmp_path / "run", args)


def test_only_a_whole_line_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        far = startup.time.perf_counter() + 60
        assert startup.first_line(path, child, far) is None
        path.write_text('{"a": 1')
        assert startup.first_line(path, child, far) is None
        path.write_text('{"a": 1}\n{"a"')
        assert startup.first_line(path, child, far) == '{"a": 1}'
