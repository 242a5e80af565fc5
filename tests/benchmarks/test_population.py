"""The benchmark runs at tiny size, and its contestants' parameters agree."""

import json

import numpy as np
import pytest

from benchmarks import population

NAMES = {"map", "vmap", "compiled_fits", "compiled_fits_overlapping", "host_fits"}


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path, capsys):
    out = tmp_path / "results" / "population.json"
    population.main(["--tiny", "--repeats", "2", "--models", "mlp", "--out", str(out)])
    result = json.loads(out.read_text())
    assert len(result["learning_rates"]) == 8 and "jax" in result["versions"]
    found = result["results"]["mlp"]
    assert result["rows"][0]["what"] in capsys.readouterr().out
    assert len(found["ratios"]) == 6 and min(found["ratios"].values()) > 0
    assert found["seconds"].keys() == NAMES
    assert {len(values) for values in found["seconds"].values()} == {2}
    differences = found["largest_relative_difference_to_map"]
    assert 0 < differences.pop("vmap") < population.TOLERANCE
    assert set(differences.values()) == {0.0}


def test_parameters_that_differ_are_an_error():
    one = {"w": np.ones(2)}
    near = {"w": np.ones(2) + 1e-6}
    far = {"w": np.array([1.0, np.nan])}
    assert population.check_params({"map": one, "vmap": near})["vmap"] > 0
    with pytest.raises(AssertionError, match=r"population: compiled_fits: values .* got 1e-06"):
        population.check_params({"map": one, "compiled_fits": near})
    with pytest.raises(AssertionError, match=r"population: vmap: values .* got nan"):
        population.check_params({"map": one, "vmap": far})
