"""Each curve is fastai's at every batch."""

import numpy as np
import pytest

from gradtx import schedules
from tests.schedules.fastai import CURVES, values


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("n", [1, 9, 100])
def test_a_curve_is_fastais_at_every_batch(name, n):
    curve, want = CURVES[name]
    got = values(schedules.combine([1.0], [curve], n), range(n))
    np.testing.assert_allclose(got, [want(k / n) for k in range(n)], rtol=3e-6)
