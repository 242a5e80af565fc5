"""The benchmark runs at tiny size, and its contestants' losses agree."""

import json

import pytest

from benchmarks import layer_health

KINDS = {"health", "health and histograms"}


@pytest.mark.thorough  # three trainings are compiled
def test_tiny_run_writes_its_json(tmp_path, capsys):
    out = tmp_path / "layer_health.json"
    layer_health.main(["--tiny", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["cost"].keys() == result["processor_cost"].keys() == KINDS
    assert {turn["n"] for turn in result["turns"].values()} == {1}
    assert [row["what"] for row in result["rows"]] == [
        f"resnet_tiny, batch 4 of 12 px: cost of {kind} at every 10 steps"
        for kind in ("health", "health and histograms")
    ]
    assert result["rows"][0]["what"] in capsys.readouterr().out
