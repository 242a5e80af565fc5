"""The report of a sweep says what came of each copy, and nothing of those that failed."""

import json

import numpy as np
import pytest

from gradtx.hooks import terminate_on_nan
from gradtx.report.sweep import best_of, sweep_table, write_sweep
from gradtx.tuning.sweep import sweep
from tests.loop import small

RATES = np.array([0.01, 0.05, 1e38])  # the last loses its parameters to infinity


@pytest.fixture(scope="module")
def result():
    loop = small.make(terminate_on_nan())
    data = small.DATA, small.orders(2), small.DATA, small.VALID_ORDER
    return sweep(loop, small.start(loop), *data, learning_rate=RATES)


def test_a_copy_that_was_stopped_has_no_figures(result):
    figures = result.last
    assert sorted(figures) == ["error", "train_loss", "valid_loss"]
    for name, values in figures.items():
        np.testing.assert_array_equal(values[:2], result.rows[name][:2, -1])
        assert np.isnan(values[2])


def test_where_no_hook_says_so_the_figures_are_those_of_the_rows(result):
    bare = result._replace(failed=np.array([False, False, False]))
    np.testing.assert_array_equal(bare.last["error"], result.rows["error"][:, -1])


def test_what_is_written_is_what_the_table_says(result, tmp_path):
    table, best = write_sweep(result, "learning_rate", RATES, tmp_path)
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert list(written) == ["learning_rate", "train_loss", "valid_loss", "error", "best", "epochs"]
    assert written["learning_rate"] == RATES.tolist()
    assert written["valid_loss"][:2] == result.rows["valid_loss"][:2, -1].tolist()
    assert written["valid_loss"][2] is None
    assert written["best"] == best == int(np.argmin(written["valid_loss"][:2]))
    assert table.splitlines()[0].split() == list(written)[:-2]
    assert (tmp_path / "sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_marks_the_least_finite_loss():
    columns = {"lr": [0.1, 0.2, 0.3], "valid_loss": [np.nan, 0.5, 0.7]}
    header, *lines = sweep_table({k: np.array(v) for k, v in columns.items()}).splitlines()
    assert header.split() == ["lr", "valid_loss"]
    assert [line.split()[2:] for line in lines] == [[], ["<-", "best"], []]
    assert lines[1].split()[:2] == ["0.2", "0.5"]


def test_there_may_be_no_best():
    assert best_of(np.array([np.nan, np.inf])) is None
