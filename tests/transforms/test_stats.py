"""Optimizers rebuilt from statistics and a step, against the library's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import Statistic, adam_step, average_grad, average_sqr_grad, scale_by_stats
from tests.transforms.trajectories import assert_same, gradtx_run, start

REBUILT = {
    "momentum": (
        scale_by_stats(average_grad(0.9), step=gradtx.momentum_step),
        gradtx.scale_by_momentum(0.9),
    ),
    "dampened": (
        scale_by_stats(average_grad(0.9, dampening=True), step=gradtx.momentum_step),
        gradtx.scale_by_momentum(0.9, dampening=True),
    ),
    "rms": (
        scale_by_stats(average_sqr_grad(0.9), step=gradtx.rms_prop_step, eps=1e-3),
        gradtx.scale_by_rms(0.9, 1e-3, eps_in_sqrt=False),
    ),
    "adam": (
        scale_by_stats(
            average_grad(0.9, dampening=True), average_sqr_grad(0.99), step=adam_step, eps=1e-5
        ),
        gradtx.scale_by_adam(0.9, 0.99, 1e-5),
    ),
    "sgd": (scale_by_stats(step=lambda h: lambda g, p: g), gradtx.identity()),
}


@pytest.mark.parametrize("name", REBUILT)
def test_statistics_rebuild_the_librarys_own(name):
    rebuilt, own = (gradtx.chain(tx, gradtx.scale(-0.01)) for tx in REBUILT[name])
    got, _ = gradtx_run(rebuilt, *start(), dtype=jnp.float32)
    want, _ = gradtx_run(own, *start(), dtype=jnp.float32)
    assert_same(got, want, rtol=1e-6, atol=1e-7)


def test_momentum_is_rebuilt_bit_for_bit():
    rebuilt, own = REBUILT["momentum"]
    (a, _), (b, _) = (gradtx_run(tx, *start(), dtype=jnp.float32) for tx in (rebuilt, own))
    assert_same(a, b, rtol=0)


def test_a_users_statistic_with_a_hyperparameter_of_its_own_is_live():
    """A decaying maximum of |g|, and with it AdaMax's step without bias correction."""
    top = Statistic(
        "top",
        lambda h: lambda g, p, old: jnp.maximum(h.fade * old, jnp.abs(g)),
        {"fade": (0.5, gradtx.UNIT)},
    )
    tx = scale_by_stats(top, step=lambda h: lambda g, p, *, top: h.gain * g / top, gain=2.0)
    state = tx.init(jnp.zeros(1))
    assert sorted(gradtx.hyperparams(state)) == ["fade", "gain"]
    _, state = tx.update(jnp.array([8.0]), state)
    u, state = tx.update(jnp.array([1.0]), state)
    assert u.tolist() == [2 * 1 / 4]
    state = gradtx.set_hyperparams(state, fade=0.0)
    assert tx.update(jnp.array([1.0]), state)[0].tolist() == [2.0]


def test_a_statistic_may_keep_another_dtype():
    tx = scale_by_stats(average_grad(0.9, dtype=jnp.bfloat16), step=gradtx.momentum_step)
    g = jnp.ones(2)
    u, state = jax.jit(tx.update)(g, tx.init(g))
    assert (u.dtype, state.slots["grad_avg"].dtype) == (jnp.float32, jnp.bfloat16)


def test_names_that_clash_are_refused():
    with pytest.raises(ValueError, match=r"every statistic must have a name of its own.*grad_avg"):
        scale_by_stats(
            average_grad(0.9), average_grad(0.9)._replace(hyperparams={}), step=adam_step
        )
    with pytest.raises(ValueError, match=r"every hyperparameter must have a name.*`decay` twice"):
        scale_by_stats(average_sqr_grad(0.9), step=adam_step, decay=0.1)
    with pytest.raises(ValueError, match=r"`eps` must be in \[0, inf\); got -1"):
        scale_by_stats(step=adam_step, eps=-1.0)


def test_a_step_may_use_the_parameters():
    tx = scale_by_stats(step=lambda h: lambda g, p: g + h.pull * p, needs_params=True, pull=0.5)
    p = jnp.full(2, 4.0)
    np.testing.assert_array_equal(tx.update(jnp.ones(2), tx.init(p), p)[0], [3, 3])
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(jnp.ones(2), tx.init(p))
