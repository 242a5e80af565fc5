"""The benchmark runs at tiny size, and its contestants' parameters agree."""

import json

import jax
import pytest

from benchmarks import compile_time


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path):
    out = tmp_path / "compile_time.json"
    with jax.numpy_dtype_promotion("standard"):  # Optax's optimizers mix floats and integers
        compile_time.main(["--tiny", "--repeats", "1", "--out", str(out)])
    results = json.loads(out.read_text())["results"]
    names = {"6 leaves", "12 leaves", "6 leaves in groups", "6 distinct leaves"}
    assert results.keys() == names
    for found in results.values():
        for stages in found["seconds"].values():
            parts = [stages[name][0] for name in ("trace", "lower", "compile")]
            assert min(parts) > 0 and stages["total"][0] == sum(parts)
        assert max(found["largest_relative_difference"].values()) < compile_time.TOLERANCE
    assert results["6 leaves in groups"]["ratios"].keys() > {"gradtx_multi_transform/optax"}


def test_the_shapes_of_the_leaves():
    shapes = lambda **how: [
        x.shape for x in jax.tree.leaves(compile_time.make_params(12, 0, **how))
    ]
    assert len(shapes()) == 12 and len(set(shapes())) == 5
    assert len(set(shapes(distinct=True))) == 12
