"""Schedules against fastai's formulas in float64, Optax's functions, and their own laws."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import schedules
from gradtx.schedules import curves

LAST = 2**31 - 1


def values(schedule, counts):
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(counts, jnp.int32)))


# fastai, semantics 1.4, in float64; positions are exact fractions k / n.
def sched_cos(start, end):
    return lambda p: start + (1 + math.cos(math.pi * (1 - p))) * (end - start) / 2


def combined(fractions, scheds):
    edges = np.concatenate([[0.0], np.cumsum(np.asarray(fractions, np.float64))])

    def at(pos):
        i = min(max(j for j in range(len(edges)) if pos >= edges[j] - 1e-12), len(scheds) - 1)
        return scheds[i]((pos - edges[i]) / (edges[i + 1] - edges[i]))

    return at


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


CURVES = {
    "linear": (curves.linear(0.1, 2.0), lambda p: 0.1 + p * 1.9),
    "cosine": (curves.cosine(0.1, 2.0), sched_cos(0.1, 2.0)),
    "constant": (curves.constant(0.3), lambda p: 0.3),
    "exponential": (curves.exponential(1e-7, 10.0), lambda p: 1e-7 * (10 / 1e-7) ** p),
    "polynomial": (curves.polynomial(0.1, 2.0, 3), lambda p: 0.1 + 1.9 * p**3),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("n", [1, 9, 100])
def test_a_curve_is_fastais_at_every_batch(name, n):
    curve, want = CURVES[name]
    got = values(schedules.combine([1.0], [curve], n), range(n))
    np.testing.assert_allclose(got, [want(k / n) for k in range(n)], rtol=3e-6)


@pytest.mark.parametrize("n", [5, 20, 33, 100])
def test_combine_is_fastais_combine_scheds(n):
    fractions = [0.2, 0.3, 0.5]
    names = ["exponential", "cosine", "linear"]
    want = combined(fractions, [CURVES[name][1] for name in names])
    got = values(schedules.combine(fractions, [CURVES[name][0] for name in names], n), range(n))
    np.testing.assert_allclose(got, [want(k / n) for k in range(n)], rtol=3e-6)


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


def test_inverse_sqrt_is_the_transformers():
    """Vaswani et al.: d^-0.5 min(step^-0.5, step warmup^-1.5), scaled to its peak."""
    got = values(schedules.inverse_sqrt(2.0, 16), range(200))
    step = np.arange(1.0, 201)
    want = 2 * np.sqrt(16) * np.minimum(step**-0.5, step * 16**-1.5)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got.argmax() == 15


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


ALL = {
    "constant": schedules.constant(0.1),
    "linear": schedules.linear(1.0, 0.1, 10),
    "cosine": schedules.cosine(1.0, 0.1, 10),
    "exponential": schedules.exponential(1.0, 0.1, 10),
    "polynomial": schedules.polynomial(1.0, 0.1, 10, power=2),
    "inverse_sqrt": schedules.inverse_sqrt(1.0, 10),
    "piecewise": schedules.piecewise([1.0, 0.1], [5]),
    "warmup": schedules.warmup(1.0, 5),
    "one_cycle rate": schedules.one_cycle(1.0, 10).learning_rate,
    "one_cycle momentum": schedules.one_cycle(1.0, 10).momentum,
    "flat_cos": schedules.flat_cos(1.0, 10),
    "sgdr": schedules.sgdr(1.0, 3, cycles=2),
    "exponential_decay": gradtx.exponential_decay(1.0, 10, 0.5, staircase=True),
    "cosine_onecycle": gradtx.cosine_onecycle_schedule(10, 1.0),
    "piecewise_constant": gradtx.piecewise_constant_schedule(1.0, {3: 0.1}),
}


@pytest.mark.parametrize("name", ALL)
def test_every_schedule_is_float32_of_the_shape_of_count_however_it_is_called(name):
    schedule = ALL[name]
    counts = jnp.arange(12, dtype=jnp.int32)
    eager = [schedule(t) for t in range(12)]
    assert {(v.shape, v.dtype) for v in map(jnp.asarray, eager)} == {((), jnp.dtype("float32"))}
    whole = schedule(counts)
    assert (whole.shape, whole.dtype) == ((12,), jnp.float32)
    _, scanned = jax.lax.scan(lambda c, t: (c, schedule(t)), 0, counts)
    for other in (whole, jax.vmap(schedule)(counts), jax.jit(schedule)(counts), scanned):
        np.testing.assert_allclose(other, jnp.stack(eager), rtol=1e-6, atol=1e-9)
    assert np.isfinite(float(schedule(LAST)))


@pytest.mark.parametrize("name", ALL)
def test_every_schedule_is_float64_to_the_last_digits_in_x64(name):
    with jax.enable_x64(True):
        got = jnp.asarray(ALL[name](jnp.asarray(4, jnp.int32)))
    assert got.dtype == jnp.float64
    assert float(got) == pytest.approx(float(ALL[name](4)), rel=1e-6)


def test_numbers_may_be_numpys_or_traced():
    np.testing.assert_allclose(
        values(schedules.linear(np.float64(1.0), np.float32(0.0), np.int64(4)), [1, 3]),
        [0.75, 0.25],
    )
    at_one = jax.vmap(lambda peak: schedules.one_cycle(peak, 4).learning_rate(1))
    np.testing.assert_allclose(at_one(jnp.array([0.1, 0.2])), [0.1, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(schedules.linear, 0, 1, 0), r"linear: `steps` must be positive.*got 0"),
        (partial(schedules.cosine, 0, 1, -1), r"cosine: `steps` must be positive.*got -1"),
        (partial(schedules.linear, 0, 1, 2**31), r"at most 2\^31 - 1"),
        (partial(schedules.exponential, 1, 0, 5), r"exponential: `start` and `end` must be pos"),
        (partial(schedules.one_cycle, 1, 10, warmup=1.5), r"one_cycle: `warmup`.*\[0, 1\]"),
        (partial(schedules.flat_cos, 1, 10, flat=-0.5), r"flat_cos: `flat`.*got -0.5"),
        (partial(schedules.sgdr, 1, 10, cycles=0), r"sgdr: `cycles` must be at least 1"),
        (partial(schedules.sgdr, 1, 2**20, cycles=20), r"sgdr: `steps of all cycles`"),
        (partial(schedules.piecewise, [1, 2], []), r"one boundary between each two values"),
        (partial(schedules.piecewise, [1, 2, 3], [4, 2]), r"must increase; got \[4, 2\]"),
        (partial(schedules.warmup, 1.0, 0), r"warmup: `steps` must be positive"),
        (
            partial(schedules.combine, [0.5, 0.4], [curves.constant(1)] * 2, 5),
            r"combine: `fractions` must not be negative, and sum to 1; got \[0.5, 0.4\], sum 0.9",
        ),
        (partial(schedules.combine, [1.0], [], 5), r"combine: .* same, positive length; got 1 and"),
        (partial(gradtx.linear_schedule, 1, 0, -1), r"linear_schedule: .* must not be negative"),
        (partial(gradtx.cosine_decay_schedule, 1, 0), r"cosine_decay_schedule: `decay_steps`"),
        (partial(gradtx.piecewise_constant_schedule, 1, {3: -1}), r"scales must not be negative"),
        (partial(gradtx.piecewise_interpolate_schedule, "cubic", 1), r"must be \"linear\" or"),
        (partial(gradtx.warmup_cosine_decay_schedule, 0, 1, 9, 9), r"decay_steps - warmup_steps"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_boundary_that_is_no_integer_is_named():
    with pytest.raises(TypeError, match=r"join: `boundaries` must be whole numbers.*got 2\.5"):
        schedules.join([1.0, 2.0], [2.5])
