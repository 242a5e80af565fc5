"""Skipping gradients that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

ONE = jnp.ones(2)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_skipped_step_leaves_no_trace_but_the_counts(bad):
    tx = gradtx.skip_if_not_finite(gradtx.adamw(lambda count: 0.1 / (count + 1.0)))
    update = jax.jit(tx.update)
    _, before = update(ONE, tx.init(ONE), ONE)
    u, after = update(ONE.at[1].set(bad), before, ONE)
    np.testing.assert_array_equal(u, [0, 0])
    jax.tree.map(np.testing.assert_array_equal, after.slots["inner"], before.slots["inner"])
    assert (int(after.slots["consecutive"]), int(after.slots["total"])) == (1, 1)
    want = update(ONE, before, ONE)
    got = update(ONE, after, ONE)
    np.testing.assert_array_equal(got[0], want[0])
    assert (int(got[1].slots["consecutive"]), int(got[1].slots["total"])) == (0, 1)


def test_at_the_limit_the_update_is_made():
    tx = gradtx.apply_if_finite(gradtx.sgd(1.0), 2)
    state, got = tx.init(ONE), []
    for _ in range(3):
        u, state = tx.update(jnp.nan * ONE, state)
        got.append(float(u[0]))
    np.testing.assert_array_equal(got, [0, 0, np.nan])


def test_negative_limit():
    with pytest.raises(ValueError, match=r"`max_consecutive` must be at least 0, .*; got -1"):
        gradtx.skip_if_not_finite(gradtx.sgd(1.0), max_consecutive=-1)
