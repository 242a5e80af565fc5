"""Schedules of one phase: where they end, and how many digits they keep."""

import math

import numpy as np

from gradtx import schedules
from tests.schedules.fastai import LAST, values


def test_curves_end_where_they_say_and_stay_there():
    for make in (schedules.linear, schedules.cosine, schedules.exponential):
        got = values(make(0.5, 1e-6, 10), [0, 10, 11, LAST])
        np.testing.assert_array_equal(got, np.float32([0.5, 1e-6, 1e-6, 1e-6]))


def test_cosine_keeps_its_digits_close_to_zero():
    n = 10_000
    want = [math.sin(math.pi / 2 * (n - k) / n) ** 2 for k in range(n)]
    np.testing.assert_allclose(values(schedules.cosine(1.0, 0.0, n), range(n)), want, rtol=1e-6)


def test_positions_are_exact_far_beyond_float32s_integers():
    """float32 counts only to 2^24; a longer run still ends on its last update."""
    n = LAST - 1
    schedule = schedules.linear(1.0, 0.0, n)
    got = values(schedule, [n - 2, n - 1, n, LAST])
    np.testing.assert_allclose(got, [2 / n, 1 / n, 0, 0], rtol=1e-6)
    jump = schedules.piecewise([1.0, 2.0], [2**24 + 1])
    np.testing.assert_array_equal(values(jump, [2**24, 2**24 + 1]), [1, 2])


def test_inverse_sqrt_is_the_transformers():
    """Vaswani et al.: d^-0.5 min(step^-0.5, step warmup^-1.5), scaled to its peak."""
    got = values(schedules.inverse_sqrt(2.0, 16), range(200))
    step = np.arange(1.0, 201)
    want = 2 * np.sqrt(16) * np.minimum(step**-0.5, step * 16**-1.5)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got.argmax() == 15
