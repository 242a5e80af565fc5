"""What holds of all schedules: their form however they are called, and their messages."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import schedules
from gradtx.schedules import curves
from tests.schedules.fastai import LAST, values

ALL = {
    "constant": schedules.constant(0.1),
    "linear": schedules.linear(1.0, 0.1, 10),
    "cosine": schedules.cosine(1.0, 0.1, 10),
    "exponential": schedules.exponential(1.0, 0.1, 10),
    "half_life": schedules.half_life(0.9, 0.99, 10),
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
        (
            partial(schedules.half_life, 0, 0.9, 5),
            r"half_life: `start` and `end` must be in \(0, 1\)",
        ),
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
        (partial(gradtx.exponential_decay, 1, 2, -0.5), r"`decay_rate` must not be negative"),
        (partial(gradtx.cosine_decay_schedule, 1, 0), r"cosine_decay_schedule: `decay_steps`"),
        (partial(gradtx.piecewise_constant_schedule, 1, {3: -1}), r"scales must not be negative"),
        (
            partial(gradtx.piecewise_interpolate_schedule, "cubic", 1),
            r"of .linear., .cosine.; got",
        ),
        (partial(gradtx.warmup_cosine_decay_schedule, 0, 1, 9, 9), r"decay_steps - warmup_steps"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_boundary_may_lie_between_two_steps_or_beyond_all():
    a, b = schedules.linear(0, 1, 4), schedules.linear(1, 0, 4)
    for boundary in (2.5, np.float32(2.5)):
        got = [float(schedules.join([a, b], [boundary])(t)) for t in range(6)]
        np.testing.assert_allclose(got, [0, 0.25, 0.5, 0.875, 0.625, 0.375], rtol=1e-6)
    got = [float(schedules.piecewise([1.0, 2.0], np.array([2.5]))(t)) for t in (2, 3)]
    assert got == [1.0, 2.0]
    got = [float(schedules.warmup(b, 2.5)(t)) for t in (0, 2, 3)]
    np.testing.assert_allclose(got, [0, 0.8, 0.875], rtol=1e-6)
    inner = schedules.join([1.0, 2.0], [0.75])  # at 2, it has counted 0.5
    assert float(schedules.join([0.0, inner], [1.5])(2)) == 1.0
    for beyond in (10**12, 2**31 - 1):
        assert float(schedules.join([1.0, 2.0], [beyond])(2**31 - 2)) == 1.0
    with pytest.raises(ValueError, match="`boundaries` must be a sequence, each a finite number"):
        schedules.join([1.0, 2.0], [10**400])


@pytest.mark.parametrize("value", ["x", None, 1j, [1.0], np.ones(3), jax.random.key(0)], ids=repr)
@pytest.mark.parametrize(
    "make, name",
    [
        (lambda f: schedules.warmup(f, 3), r"warmup: `schedule`"),
        (lambda f: schedules.join([1.0, f], [3]), r"join: `schedules\[1\]`"),
        (lambda f: gradtx.join_schedules([f, f], [3]), r"join_schedules: `schedules\[0\]`"),
        (lambda f: schedules.combine([1.0], [f], 3), r"combine: `curves\[0\]`"),
    ],
)
def test_a_schedule_of_one_that_returns_no_number_names_it(make, name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must return a scalar; got "):
        make(lambda *at: value)(jnp.asarray(1))
