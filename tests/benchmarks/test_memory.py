"""The benchmark runs at tiny size."""

import json

import jax
import pytest

from benchmarks import memory


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path):
    out = tmp_path / "memory.json"
    with jax.numpy_dtype_promotion("standard"):  # optax.adamw mixes floats and integers
        memory.main(["--tiny", "--out", str(out)])
    found = json.loads(out.read_text())["memory_bytes"]
    assert len(found) == 3
    for sizes in found.values():
        between = sizes["output"] - sizes["alias"] + sizes["temp"]
        assert sizes["peak"] == sizes["argument"] + between
        assert 0 < sizes["alias"] <= sizes["argument"] and sizes["temp"] > 0
    plain, native = found["plain Flax, Optax"], found["our model with native convolutions, gradtx"]
    assert abs(native["argument"] - plain["argument"]) < 200  # the same state, but for scalars
