"""A schedule under Optax's name has Optax's values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import schedules
from tests.schedules.fastai import values

OPTAX = {
    "constant": ("constant_schedule", (0.3,)),
    "linear": ("linear_schedule", (1.0, 0.01, 100)),
    "linear begin": ("linear_schedule", (1.0, 0.01, 50, 7)),
    "linear zero": ("linear_schedule", (1.0, 0.01, 0)),
    "polynomial": ("polynomial_schedule", (1.0, 0.01, 2, 100, 5)),
    "polynomial half": ("polynomial_schedule", (0.1, 2.0, 0.5, 33)),
    "cosine": ("cosine_decay_schedule", (0.5, 90)),
    "cosine alpha": ("cosine_decay_schedule", (0.5, 90, 0.1, 2.0)),
    "exponential": ("exponential_decay", (0.5, 10, 0.7)),
    "exponential staircase": ("exponential_decay", (0.5, 10, 0.7, 3, True, 0.1)),
    "exponential growing": ("exponential_decay", (0.1, 5, 1.5, 0, False, 0.9)),
    "exponential zero": ("exponential_decay", (0.1, 5, 0.0)),
    "piecewise": ("piecewise_constant_schedule", (1.0, {30: 0.1, 60: 0.5})),
    "piecewise none": ("piecewise_constant_schedule", (1.0,)),
    "interpolate": ("piecewise_interpolate_schedule", ("linear", 1.0, {40: 0.1, 80: 0.01})),
    "interpolate cosine": ("piecewise_interpolate_schedule", ("cosine", 1.0, {40: 0.1, 80: 3.0})),
    "interpolate none": ("piecewise_interpolate_schedule", ("cosine", 1.0)),
    "linear one-cycle": ("linear_onecycle_schedule", (90, 0.5)),
    "linear one-cycle late": ("linear_onecycle_schedule", (90, 0.5, 0.4, 0.9, 10.0, 100.0)),
    "cosine one-cycle": ("cosine_onecycle_schedule", (90, 0.5)),
    "cosine one-cycle odd": ("cosine_onecycle_schedule", (21, 0.03, 0.25, 25.0, 1e5)),
    "warm-up": ("warmup_constant_schedule", (0.0, 0.5, 20)),
    "warm-up cosine": ("warmup_cosine_decay_schedule", (0.0, 0.5, 20, 90, 0.01)),
    "warm-up cosine zero": ("warmup_cosine_decay_schedule", (0.1, 0.5, 0, 90, 0.01, 1.5)),
    "warm-up exponential": ("warmup_exponential_decay_schedule", (0.0, 0.5, 20, 10, 0.8)),
    "warm-up exponential all": (
        "warmup_exponential_decay_schedule",
        (0.1, 0.5, 20, 10, 0.8, 5, True, 0.2),
    ),
    "sgdr": (
        "sgdr_schedule",
        (
            [
                dict(init_value=0.0, peak_value=p, warmup_steps=4, decay_steps=30, end_value=0.01)
                for p in (0.5, 0.3, 0.2)
            ],
        ),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_a_schedule_under_optaxs_name_has_optaxs_values(name):
    function, arguments = OPTAX[name]
    ours = getattr(gradtx, function)(*arguments)
    with jax.numpy_dtype_promotion("standard"):
        theirs = getattr(optax, function)(*arguments)
        want = [float(theirs(jnp.asarray(t, jnp.int32))) for t in range(120)]
    np.testing.assert_allclose(values(ours, range(120)), want, rtol=2e-5, atol=1e-8)


def test_join_schedules_takes_optaxs_own():
    parts = [optax.constant_schedule(1.0), schedules.linear(0.0, 1.0, 4)]
    joined = gradtx.join_schedules(parts, [3])
    np.testing.assert_allclose(values(joined, range(8)), [1, 1, 1, 0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("name", ["linear_onecycle_schedule", "cosine_onecycle_schedule"])
def test_a_short_one_cycle_keeps_its_peak(name):
    """Optax rounds the rise of 0.9 updates down to none and starts at the peak."""
    got = values(getattr(gradtx, name)(3, 1.0), range(4))
    np.testing.assert_allclose(got[:2], [1 / 25, 1.0], rtol=1e-6)
    assert (np.diff(got[1:]) < 0).all()
    assert got[-1] == pytest.approx(1 / 25 / 1e4)
