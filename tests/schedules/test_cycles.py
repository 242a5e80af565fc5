"""One-cycle and flat-cosine against fastai's formulas in float64."""

import numpy as np
import pytest

from gradtx import schedules
from tests.schedules.fastai import combined, sched_cos, values

RUNS = [1, 2, 3, 21, 100, 511]


def test_a_phase_of_no_length_is_left_out():
    """As fastai's combine_scheds, where the last phase that has begun counts."""
    fall = values(schedules.cosine(1.0, 1e-5, 10), range(11))
    rise = values(schedules.cosine(1 / 25, 1.0, 10), range(11))
    cycle = lambda warmup: values(schedules.one_cycle(1.0, 10, warmup=warmup)[0], range(11))
    np.testing.assert_array_equal(cycle(0.0), fall)
    np.testing.assert_array_equal(cycle(1.0), rise)
    np.testing.assert_array_equal(values(schedules.flat_cos(1.0, 10, flat=0.0), range(11)), fall)
    np.testing.assert_array_equal(values(schedules.flat_cos(1.0, 10, flat=1.0), range(11)), 1.0)


@pytest.mark.parametrize("n", RUNS)
def test_one_cycle_is_fastais_at_every_batch(n):
    cycle = schedules.one_cycle(0.03, n)
    rate = combined([0.25, 0.75], [sched_cos(0.03 / 25, 0.03), sched_cos(0.03, 0.03 / 1e5)])
    mom = combined([0.25, 0.75], [sched_cos(0.95, 0.85), sched_cos(0.85, 0.95)])
    positions = [k / n for k in range(n)]
    got = values(cycle.learning_rate, range(n))
    np.testing.assert_allclose(got, [rate(p) for p in positions], rtol=2e-6)
    got = values(cycle.momentum, range(n))
    np.testing.assert_allclose(got, [mom(p) for p in positions], rtol=1e-6)


def test_the_last_of_21_batches_has_the_recorded_rate():
    rate = schedules.one_cycle(0.03, 21).learning_rate
    assert float(rate(20)) == pytest.approx(2.977e-4, rel=2e-4)
    assert float(rate(21)) == pytest.approx(0.03 * 1e-5)


def test_one_cycle_over_a_number_of_steps_that_is_not_whole():
    cycle = schedules.one_cycle(1.0, 2.5, warmup=0.4, start=0.5, end=0.25)
    want = [0.5, 1.0, 0.25 + 0.75 * (1 + np.cos(np.pi / 1.5)) / 2, 0.25]  # the end is at 2.5
    np.testing.assert_allclose(values(cycle.learning_rate, range(4)), want, rtol=1e-6)


def test_one_cycle_fraction_that_is_no_float_puts_the_peak_on_its_batch():
    """0.3 * 10 is above 3 in float64 and 0.7 * 10 below 7: both mean the whole number."""
    for warmup, peak_at in ((0.3, 3), (0.7, 7), (0.1, 1)):
        got = values(schedules.one_cycle(1.0, 10, warmup=warmup).learning_rate, range(11))
        assert got.argmax() == peak_at and got[peak_at] == 1.0


@pytest.mark.parametrize("n", RUNS)
def test_flat_cos_is_fastais_at_every_batch(n):
    want = combined([0.75, 0.25], [lambda p: 0.1, sched_cos(0.1, 0.1 / 1e5)])
    got = values(schedules.flat_cos(0.1, n), range(n))
    np.testing.assert_allclose(got, [want(k / n) for k in range(n)], rtol=2e-6)
