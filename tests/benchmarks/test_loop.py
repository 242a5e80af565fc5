"""The benchmark runs at tiny size, and its contestants' parameters are the same."""

import json

import pytest

from benchmarks import loop


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path):
    out = tmp_path / "loop.json"
    loop.main(["--tiny", "--steps", "4", "--repeats", "2", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["results"].keys() == {"no hooks", "10 hooks"}
    for found in result["results"].values():
        assert found["seconds_a_step"].keys() == {"bare", "fit", "fit_on_device", "compiled"}
        assert {len(values) for values in found["seconds_a_step"].values()} == {2}
        assert found["ratios"]["compiled/compiled"] == 1.0
    assert [row["target"] for row in result["rows"]] == 2 * [">= 5", "<= 0.3 ms"]


def test_there_are_ten_hooks():
    assert len({hook.name for hook in loop.ten_hooks(loop.parse([]))}) == 10
