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
    "piecewise between": (
        "piecewise_constant_schedule",
        (1.0, {-3: 0.5, 2.5: 0.1, np.int64(6): 2.0}),
    ),
    "piecewise none": ("piecewise_constant_schedule", (1.0,)),
    "interpolate": ("piecewise_interpolate_schedule", ("linear", 1.0, {40: 0.1, 80: 0.01})),
    "interpolate cosine": ("piecewise_interpolate_schedule", ("cosine", 1.0, {40: 0.1, 80: 3.0})),
    "interpolate between": ("piecewise_interpolate_schedule", ("linear", 1.0, {2.5: 0.1, 9.25: 2})),
    "interpolate none": ("piecewise_interpolate_schedule", ("cosine", 1.0)),
    "linear one-cycle": ("linear_onecycle_schedule", (90, 0.5)),
    "linear one-cycle late": ("linear_onecycle_schedule", (90, 0.5, 0.4, 0.9, 10.0, 100.0)),
    "cosine one-cycle": ("cosine_onecycle_schedule", (90, 0.5)),
    "cosine one-cycle odd": ("cosine_onecycle_schedule", (21, 0.03, 0.25, 25.0, 1e5)),
    "warm-up": ("warmup_constant_schedule", (0.0, 0.5, 20)),
    "warm-up cosine": ("warmup_cosine_decay_schedule", (0.0, 0.5, 20, 90, 0.01)),
    "warm-up cosine between": ("warmup_cosine_decay_schedule", (0.0, 0.5, 20.25, 90, 0.01)),
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


@pytest.mark.parametrize(
    "boundaries", [[2.5], np.array([2.5, 4]), jnp.array([2, 5]), [np.float32(3.7)], [-2], [5, 2.5]]
)
def test_join_schedules_has_optaxs_values_at_any_boundaries(boundaries):
    parts = [schedules.linear(0.0, i + 1.0, 6) for i in range(len(boundaries) + 1)]
    want = [float(optax.join_schedules(parts, boundaries)(t)) for t in range(8)]
    got = values(gradtx.join_schedules(parts, boundaries), range(8))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_join_schedules_takes_optaxs_own():
    parts = [optax.constant_schedule(1.0), schedules.linear(0.0, 1.0, 4)]
    joined = gradtx.join_schedules(parts, [3])
    np.testing.assert_allclose(values(joined, range(8)), [1, 1, 1, 0, 0.25, 0.5, 0.75, 1])


def first(schedule, n):
    """The values of the first `n` counts, without a compilation for each schedule."""
    return np.array([float(schedule(jnp.asarray(t, jnp.int32))) for t in range(n)])


# Of one to three updates: the schedule, and where it is not Optax's values, what is right.
END = 1 / 25 / 1e4
SHORT = {
    "polynomial": lambda n: ("polynomial_schedule", (1.0, 0.01, 2, n)),
    "polynomial begin": lambda n: ("polynomial_schedule", (1.0, 0.01, 2, n, n)),
    "linear": lambda n: ("linear_schedule", (1.0, 0.01, n, 1)),
    "cosine": lambda n: ("cosine_decay_schedule", (0.5, n, 0.1)),
    "exponential": lambda n: ("exponential_decay", (0.5, n, 0.7)),
    "staircase": lambda n: ("exponential_decay", (0.5, n, 0.7, n, True)),
    "piecewise": lambda n: ("piecewise_constant_schedule", (1.0, {0: 0.5, n: 0.1})),
    "interpolate": lambda n: ("piecewise_interpolate_schedule", ("linear", 1.0, {0: 0.5, n: 0.1})),
    "interpolate cosine": lambda n: ("piecewise_interpolate_schedule", ("cosine", 1.0, {n: 0.1})),
    "linear one-cycle": lambda n: ("linear_onecycle_schedule", (n, 1.0)),
    "cosine one-cycle": lambda n: ("cosine_onecycle_schedule", (n, 1.0)),
    "cosine one-cycle half": lambda n: ("cosine_onecycle_schedule", (n, 1.0, 0.5)),
    "warm-up": lambda n: ("warmup_constant_schedule", (0.1, 0.5, n)),
    "warm-up cosine": lambda n: ("warmup_cosine_decay_schedule", (0.1, 0.5, n, 2 * n)),
    "warm-up cosine none": lambda n: ("warmup_cosine_decay_schedule", (0.1, 0.5, 0, n)),
    "warm-up cosine all but one": lambda n: ("warmup_cosine_decay_schedule", (0.1, 0.5, n - 1, n)),
    "warm-up exponential": lambda n: ("warmup_exponential_decay_schedule", (0, 0.5, n, n, 0.8)),
    "sgdr": lambda n: (
        "sgdr_schedule",
        ([dict(init_value=0.0, peak_value=1.0, warmup_steps=n - 1, decay_steps=n)] * 2,),
    ),
}
BETTER = {("linear one-cycle", 1): [1, END, END, END, END]}  # Optax: 0.0016, without peak and end


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", SHORT)
def test_a_short_schedule_has_optaxs_values_where_they_are_right(name, n):
    function, arguments = SHORT[name](n)
    with jax.numpy_dtype_promotion("standard"):
        theirs = getattr(optax, function)(*arguments)
        want = first(theirs, 5)
    got = first(getattr(gradtx, function)(*arguments), 5)
    np.testing.assert_allclose(got, BETTER.get((name, n), want), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    "shares, want",
    [
        ((0.3, 0.3), [1, 0.5, END, END]),  # no return to the start on the way down
        ((0.6, 0.3), [1 / 25, 1, END, END]),
        ((0.5, 1.0), [1 / 25, 1, END, END]),
        ((1.0, 1.0), [1 / 25, 0.52, 1, 1]),
        ((0.0, 0.5), [1, 1 / 25, END, END]),
    ],
)
def test_a_linear_one_cycle_keeps_its_peak_where_boundaries_coincide(shares, want):
    got = first(gradtx.linear_onecycle_schedule(2, 1.0, *shares), 4)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-8)


def half(x):
    return (1 + np.cos(np.pi * x)) / 2


# The formulas in float64, n updates.
OWN = {
    "constant": (lambda n: schedules.constant(0.3), lambda t, n: 0.3),
    "linear": (lambda n: schedules.linear(1, 0.1, n), lambda t, n: 1 - 0.9 * min(t / n, 1)),
    "cosine": (lambda n: schedules.cosine(1, 0, n), lambda t, n: half(min(t / n, 1))),
    "exponential": (lambda n: schedules.exponential(1, 0.1, n), lambda t, n: 0.1 ** min(t / n, 1)),
    "half_life": (
        lambda n: schedules.half_life(0.5, 0.9, n),
        lambda t, n: 0.5 ** (1 / (1 + min(t / n, 1) * (np.log(0.5) / np.log(0.9) - 1))),
    ),
    "polynomial": (
        lambda n: schedules.polynomial(1, 0, n, power=2),
        lambda t, n: 1 - min(t / n, 1) ** 2,
    ),
    "inverse_sqrt": (
        lambda n: schedules.inverse_sqrt(1, n),
        lambda t, n: min((t + 1) / n, (n / (t + 1)) ** 0.5),
    ),
    "piecewise": (lambda n: schedules.piecewise([1, 0.1], [n]), lambda t, n: 1 if t < n else 0.1),
    "warmup": (
        lambda n: schedules.warmup(schedules.linear(1, 0, n), n),
        lambda t, n: t / n if t < n else 1 - min((t - n) / n, 1),
    ),
    "join": (
        lambda n: schedules.join([0.1, 0.2, 0.3], [n, n]),
        lambda t, n: 0.1 if t < n else 0.3,
    ),
    "combine": (
        lambda n: schedules.combine(
            [0, 0.5, 0, 0.5], [schedules.curves.linear(i, i + 1) for i in range(4)], n
        ),
        lambda t, n: 1 + 2 * t / n if t < n / 2 else 3 + min(2 * t / n - 1, 1),
    ),
    "sgdr": (
        lambda n: schedules.sgdr(1, n, cycles=2, multiplier=1),
        lambda t, n: half(t % n / n) if t < 2 * n else 0,
    ),
    "one_cycle": (
        lambda n: schedules.one_cycle(1, n, start=0.1, end=0).learning_rate,
        lambda t, n: (
            1 - 0.9 * half(4 * t / n) if t < n / 4 else half(min((t / n - 0.25) / 0.75, 1))
        ),
    ),
    "flat_cos": (
        lambda n: schedules.flat_cos(1, n, end=0),
        lambda t, n: 1 if t < 0.75 * n else half(min(4 * t / n - 3, 1)),
    ),
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", OWN)
def test_a_short_schedule_has_the_values_of_its_formula(name, n):
    make, formula = OWN[name]
    want = [formula(t, n) for t in range(8)]
    np.testing.assert_allclose(first(make(n), 8), want, rtol=1e-5, atol=1e-6)


def test_every_schedule_is_among_the_short_ones():
    not_schedules = {"OneCycle", "curves"}
    listed = {SHORT[name](1)[0] for name in SHORT} | set(OWN)
    covered = listed | {"constant_schedule", "join_schedules"}  # the same as ours
    ours = lambda name: getattr(schedules, name).__module__.startswith("gradtx.")
    assert covered == {name for name in {*schedules.__all__} - not_schedules if ours(name)}


@pytest.mark.parametrize(
    "name, args",
    [
        ("exponential_decay", (1.0, -1, 0.5)),
        ("exponential_decay", (1.0, 4, 0.5, -3)),
        ("polynomial_schedule", (1.0, 0.1, 2, -4)),
        ("linear_schedule", (1.0, 0.1, 0)),
        ("linear_schedule", (1.0, 0.1, 4, -2)),
        ("cosine_decay_schedule", (1000.0, 10**10)),
    ],
)
def test_unusual_numbers_of_steps_mean_what_they_do_in_optax(name, args):
    ours, theirs = (getattr(module, name)(*args) for module in (schedules, optax))
    for count in (0, 1, 3, 10**9):
        with jax.numpy_dtype_promotion("standard"):
            np.testing.assert_allclose(ours(count), theirs(count), rtol=1e-5)
