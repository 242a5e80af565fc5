"""The benchmark runs at tiny size, and each contestant spends its budget and reaches a loss."""

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import search

OURS = {"population-based training", "successive halving", "random search (sweep)"}


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path, capsys):
    out = tmp_path / "results" / "search.json"
    search.main(["--tiny", "--out", str(out)])
    result = json.loads(out.read_text())
    there = importlib.util.find_spec("optuna") is not None
    optional = {"Optuna (TPE, median pruner)"} if there else set()
    assert result["results"].keys() == OURS | optional
    assert result["budget"] == 3 * 3 * 3 and (result["optuna"] is not None) == there
    assert result["rows"][0]["what"] in capsys.readouterr().out
    for found in result["results"].values():
        assert len(found["seconds"]) == len(found["valid_loss"]) == 1
        assert np.isfinite(found["median_valid_loss"]) and found["first_s"] > 0
        (values,) = found["hyperparams"]
        assert search.LOW * 0.999 <= values["learning_rate"] <= search.HIGH * 1.001
        assert np.isclose(values["weight_decay"], search.DECAYS).any()
