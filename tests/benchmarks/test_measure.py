"""Rounds, ratios and comparisons."""

import numpy as np
import pytest

from benchmarks import measure


def test_rounds_call_all_in_turn_and_keep_the_first_apart():
    calls = []
    runs = {name: lambda name=name: (calls.append(name), len(calls))[1] for name in "ab"}
    found = measure.rounds(runs, 3)
    assert calls == list("abbaabba")
    assert found.returned == {"a": [1, 4, 5, 8], "b": [2, 3, 6, 7]}
    assert found.wall.keys() == found.cpu.keys() == found.first.keys() == {"a", "b"}
    assert {len(x) for x in (*found.wall.values(), *found.cpu.values())} == {3}
    assert measure.rounds(runs, 1, keep=False).returned == {"a": [], "b": []}


def test_a_ratio_is_the_median_within_rounds():
    seconds = {"slow": [2.0, 30.0, 8.0], "fast": [1.0, 10.0, 2.0]}
    assert measure.ratio(seconds, "slow", "fast") == 3.0
    assert measure.least_ratio(seconds, "slow", "fast") == 2.0
    assert measure.medians(seconds) == {"slow": 8.0, "fast": 2.0}
    assert measure.spread([3.0]) == {
        "median_s": 3.0,
        "quartiles_s": [3.0, 3.0],
        "min_s": 3.0,
        "n": 1,
    }


def test_differences_are_relative_to_the_leaf():
    expected = {"w": np.array([100.0, 0.0]), "b": np.array([0.5])}
    near = {"w": np.array([100.0, 0.1]), "b": np.array([0.5])}
    assert measure.check_close("here", near, expected, tolerance=1e-2) == pytest.approx(1e-3)
    assert measure.check_close("here", {"z": np.zeros(2)}, {"z": np.zeros(2)}, tolerance=0) == 0
    with pytest.raises(AssertionError, match=r"here: .* within 0\.0001 .* got 0\.001"):
        measure.check_close("here", near, expected, tolerance=1e-4)
    with pytest.raises(AssertionError, match="got nan"):
        measure.check_close("here", {"w": np.array([np.nan])}, {"w": np.ones(1)}, tolerance=1)
