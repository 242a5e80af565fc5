"""The benchmark runs at tiny size; its photos are such as train.py reads."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import input as benchmark


@pytest.mark.thorough
def test_tiny_run_writes_its_json(tmp_path):
    out = tmp_path / "input.json"
    benchmark.main(["--tiny", "--repeats", "1", "--only", "photos", "--out", str(out)])
    result = json.loads(out.read_text())
    found = result["results"]["photos"]
    assert found["batch_size"] == 4 and found["size"] == 32
    for name, values in found["seconds_a_batch"].items():
        assert len(values) == 1
        assert found["images_per_s"][name] == pytest.approx(4 / values[0])
    assert found["ratios"].keys() == {"both/step", "least both/step", "processor both/step"}


def test_the_photos_are_about_as_large_as_imagenettes(tmp_path):
    mean = benchmark.write_photos(tmp_path, 20, seed=0)
    sizes = []
    for path in tmp_path.glob("*/*/*.jpg"):
        with Image.open(path) as photo:
            sizes.append(photo.size)
    assert len(sizes) == 20 and {min(size) for size in sizes} == {160}
    assert 4e3 < mean < 12e3


def test_batches_that_depend_on_the_threads_are_an_error():
    with pytest.raises(AssertionError, match="input: `image` must not depend"):
        benchmark.check_threads(lambda epoch, num_threads: [{"image": np.full(2, num_threads)}])
