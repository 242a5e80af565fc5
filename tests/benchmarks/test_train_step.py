"""The benchmark runs at tiny size, and its losses agree."""

import json

import jax
import pytest

from benchmarks import train_step


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path, capsys):
    out = tmp_path / "results" / "train_step.json"
    jobs = ["flax", "ours", "ours_scan"]
    with jax.numpy_dtype_promotion("standard"):  # optax.adamw mixes floats and integers
        train_step.main(["--tiny", "--repeats", "2", "--only", *jobs, "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["rows"][0]["what"] in capsys.readouterr().out
    assert result["model"] == "tiny" and result["batch_size"] == 8
    assert list(result["results"]) == jobs
    assert {row["n"] for row in result["results"].values()} == {2}
    assert result["ratios"].keys() == {"flax/ours", "ours_scan/ours"}
    assert result["losses"]["flax"].keys() == result["losses"]["ours"].keys() == set("123456789")
    assert 0 < result["largest_relative_loss_difference"] < 1e-4


def test_losses_that_differ_are_an_error():
    losses = {"ours": {1: 2.0, 2: 1.9}, "flax": {1: 2.0, 2: 1.8}}
    with pytest.raises(AssertionError, match=r"at step 2 flax has 1\.8 against 1\.9"):
        train_step.check_losses(losses)
    with pytest.raises(AssertionError, match=r"at step 1 flax has nan"):
        train_step.check_losses({"ours": {1: 2.0}, "flax": {1: float("nan")}})
