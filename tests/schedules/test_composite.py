"""Schedules made from others: fastai's combine and restarts, joins and warm-up."""

import numpy as np
import pytest

from gradtx import schedules
from tests.schedules.fastai import CURVES, combined, sched_cos, values


@pytest.mark.parametrize("n", [5, 20, 33, 100])
def test_combine_is_fastais_combine_scheds(n):
    fractions = [0.2, 0.3, 0.5]
    names = ["exponential", "cosine", "linear"]
    want = combined(fractions, [CURVES[name][1] for name in names])
    got = values(schedules.combine(fractions, [CURVES[name][0] for name in names], n), range(n))
    np.testing.assert_allclose(got, [want(k / n) for k in range(n)], rtol=3e-6)


@pytest.mark.parametrize("cycles, length, multiplier", [(3, 7, 2), (3, 1, 2), (4, 5, 1), (2, 3, 3)])
def test_sgdr_restarts_on_the_exact_batch(cycles, length, multiplier):
    lengths = [length * multiplier**i for i in range(cycles)]
    want = [sched_cos(0.03, 0.0)(k / m) for m in lengths for k in range(m)]
    got = values(
        schedules.sgdr(0.03, length, cycles=cycles, multiplier=multiplier), range(sum(lengths) + 1)
    )
    np.testing.assert_allclose(got[:-1], want, rtol=2e-6)
    assert got[-1] == 0


def test_sgdr_has_no_float32_boundary_bug():
    """fastai's third of three cycles starts with a rate of 2e-15 in place of the peak."""
    starts = np.cumsum([0, 21, 42])
    np.testing.assert_array_equal(
        values(schedules.sgdr(0.03, 21, cycles=3), starts), np.full(3, 0.03, np.float32)
    )


def test_join_gives_each_schedule_its_own_count():
    joined = schedules.join([schedules.linear(0, 1, 4), 0.5, schedules.linear(0.5, 0, 2)], [4, 6])
    np.testing.assert_allclose(
        values(joined, range(9)), [0, 0.25, 0.5, 0.75, 0.5, 0.5, 0.5, 0.25, 0]
    )


def test_piecewise_switches_on_the_boundary():
    got = values(schedules.piecewise([3.0, 2.0, 1.0], [2, 5]), range(7))
    np.testing.assert_array_equal(got, [3, 3, 2, 2, 2, 1, 1])


def test_warmup_leads_to_the_first_value_and_then_starts_the_schedule():
    got = values(schedules.warmup(schedules.linear(1.0, 0.0, 4), 2, start=0.5), range(7))
    np.testing.assert_allclose(got, [0.5, 0.75, 1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(values(schedules.warmup(0.4, 4), [0, 1, 4, 9]), [0, 0.1, 0.4, 0.4])
