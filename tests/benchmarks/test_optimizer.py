"""The benchmark runs at tiny size, and its contestants' parameters agree."""

import json

import jax
import pytest

from benchmarks import optimizer


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path):
    out = tmp_path / "optimizer.json"
    argv = ["--tiny", "--repeats", "1", "--steps", "2", "--out", str(out)]
    # Optax's optimizers mix floats and integers, and vectors with scalars.
    with jax.numpy_dtype_promotion("standard"):
        optimizer.main([*argv, "--families", "momentum", "clip_adamw"])
    result = json.loads(out.read_text())
    assert result["families"].keys() == {"momentum", "clip_adamw"}
    assert result["learning_rates"]["ratios"].keys() == {"schedule/number", "array/number"}
    found = result["families"]["clip_adamw"]
    assert {len(values) for values in found["seconds"].values()} == {1}
    assert found["largest_relative_difference"]["gradtx"] < optimizer.TOLERANCE
    memory, size = result["memory_bytes"], 4 * result["parameters"]
    assert memory["adamw gradtx"]["params"] == size
    assert 2 * size < memory["adamw gradtx"]["state"] < 2 * size + 200
    assert memory["adamw gradtx"]["state"] - memory["adamw_bf16 gradtx"]["state"] == size
    assert memory["adamw gradtx"]["alias"] >= 3 * size  # donated


def test_optimizers_that_differ_are_an_error():
    args = optimizer.parse(["--tiny", "--repeats", "1", "--steps", "1"])
    make = optimizer.FAMILIES["momentum"]
    rates = {"a": make(optimizer.gradtx, 0.1), "b": make(optimizer.gradtx, 0.2)}
    with pytest.raises(AssertionError, match="optimizer: b: values must agree"):
        optimizer.contest(rates, args, optimizer.make_arrays(args))
