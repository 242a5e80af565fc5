"""Dtypes are a fixed point of every update; and Optax 0.2.8's defects, which we must not have."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

DTYPES = ("bfloat16", "float16", "float32", "float64")
adam = lambda: gradtx.adamw(1e-2)
TRANSFORMS = {
    "sgd": lambda: gradtx.sgd(0.1),
    "momentum": lambda: gradtx.sgd(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: gradtx.rmsprop(0.1, centered=True, momentum=0.9),
    "adamw": adam,
    "adamw low": lambda: gradtx.adamw(1e-2, mu_dtype=jnp.bfloat16),
    "schedules": lambda: gradtx.adamw(lambda c: 0.1, b1=lambda c: 0.9),
    "clip": lambda: gradtx.chain(gradtx.clip_by_global_norm(1.0), adam()),
    "lion": lambda: gradtx.lion(1e-3),
    "ema": lambda: gradtx.ema(0.9),
    "groups": lambda: gradtx.adam(gradtx.by_group({"w": "a", "n": "a"}, a=0.1)),
    "masked": lambda: gradtx.masked(adam(), "w"),
    "freeze": lambda: gradtx.freeze(adam(), "w"),
    "accumulate": lambda: gradtx.accumulate(adam(), 3),
    "skip": lambda: gradtx.skip_if_not_finite(adam()),
    "master": lambda: gradtx.master_weights(adam()),
    "kahan": lambda: gradtx.chain(adam(), gradtx.kahan_summation()),
    "stochastic": lambda: gradtx.chain(adam(), gradtx.stochastic_rounding()),
    # Optax's own trace and rms turn bfloat16 states into float32 on the first update.
    "Optax, accumulated": lambda: gradtx.accumulate(optax.rmsprop(0.1, momentum=0.9), 2),
    "Optax, skipped": lambda: gradtx.skip_if_not_finite(optax.sgd(0.1, momentum=0.9)),
}


def signature(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), tree)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_state_and_updates_keep_their_dtypes_under_every_mix(name):
    for p, g in [(p, g) for p in DTYPES for g in DTYPES]:
        with jax.enable_x64("float64" in (p, g)), jax.numpy_dtype_promotion("standard"):
            tx = TRANSFORMS[name]()
            spec = lambda dtype: jax.ShapeDtypeStruct((2, 3), dtype)
            params, grads = {"w": spec(p), "n": None}, {"w": spec(g), "n": None}
            state = jax.eval_shape(tx.init, params)
            updates, new = jax.eval_shape(tx.update, grads, state, params)
            assert jax.tree.structure(new) == jax.tree.structure(state), (p, g)
            assert signature(new) == signature(state), (p, g)
            assert updates["w"].dtype == g, (p, g)


SGD = gradtx.sgd(0.25)
AROUND = {
    "accumulate": gradtx.accumulate(SGD, 2),
    "master": gradtx.master_weights(SGD),
    "kahan": gradtx.chain(SGD, gradtx.kahan_summation()),
    "stochastic": gradtx.chain(SGD, gradtx.stochastic_rounding()),
    "flatten": gradtx.flatten(SGD),
    "lookahead": gradtx.lookahead(SGD, 2),
    "schedule_free": gradtx.schedule_free_sgd(0.25),
}


@pytest.mark.parametrize("name", AROUND)
def test_updates_of_integers_are_floating(name):
    """Reference: the same numbers as floats."""
    ints = {"w": jnp.array([1, -2]), "i": jnp.array([3])}
    floats = jax.tree.map(lambda x: x.astype(jnp.float32), ints)
    tx, got, want = AROUND[name], None, None
    state, wide = tx.init({"w": floats["w"], "i": ints["i"]}), tx.init(floats)
    for _ in range(2):
        got, state = tx.update(ints, state, {"w": floats["w"], "i": ints["i"]})
        want, wide = tx.update(floats, wide, floats)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert got["w"].dtype == got["i"].dtype == jnp.float32 and got["w"].all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["momentum", "rmsprop", "adamw", "clip"])
def test_moments_and_arithmetic_are_float32(name, dtype):
    """Reference: the same run on float32 gradients, rounded once at the end."""
    tx = TRANSFORMS[name]()
    params = {"w": jnp.linspace(0.5, 2.0, 8).astype(dtype)}
    wide = {"w": params["w"].astype(jnp.float32)}
    low_state, state = tx.init(params), tx.init(wide)
    for i in range(5):
        g = {"w": jnp.cos(jnp.arange(8.0) + i).astype(dtype)}
        low, low_state = tx.update(g, low_state, params)
        want, state = tx.update({"w": g["w"].astype(jnp.float32)}, state, wide)
    np.testing.assert_array_equal(low["w"], want["w"].astype(dtype))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(low_state) if x.ndim)


# Each of these was seen in Optax 0.2.8; see the comment for what Optax does.


def run(tx, grads, params):
    state, out = tx.init(params), []
    for g in grads:
        updates, state = jax.jit(tx.update)(g, state, params)
        out.append(updates)
    return out, state


def test_live_b2_with_bfloat16_parameters():
    """Optax's inject_hyperparams: b2 = 0.999 becomes 1 in bfloat16, and Adam NaN."""
    params = jnp.ones(3, jnp.bfloat16)
    tx = gradtx.adam(jnp.float32(0.1), b2=jnp.float32(0.999))
    (first, second), _ = run(tx, [params, params], params)
    np.testing.assert_allclose(first.astype(jnp.float32), -0.1, rtol=1e-2)
    np.testing.assert_allclose(second.astype(jnp.float32), -0.1, rtol=1e-2)


def test_second_moment_does_not_stall():
    """Optax: nu in bfloat16 stops at 0.5, where it should be 1 - 0.999^2000 = 0.865."""
    tx = gradtx.scale_by_adam()
    params = jnp.ones(2, jnp.bfloat16)
    update = lambda _, s: tx.update(params, s)[1]
    state = jax.jit(lambda s: jax.lax.fori_loop(0, 2000, update, s))(tx.init(params))
    np.testing.assert_allclose(state.slots["nu"], 1 - 0.999**2000, rtol=1e-4)


def test_clipping_float16_gradients_whose_norm_overflows():
    """Optax: the norm is inf in float16, and every update 0."""
    grads = jnp.full(4, 300.0, jnp.float16)
    (u,), _ = run(gradtx.clip_by_global_norm(1.0), [grads], grads)
    np.testing.assert_allclose(u.astype(jnp.float32), 0.5, rtol=1e-3)


def test_the_norm_of_bfloat16_gradients():
    """Optax: 512 for 300 leaves of norm sqrt(1000), in truth 547.7."""
    grads = [jnp.full(1000, 1.0, jnp.bfloat16) for _ in range(300)]
    np.testing.assert_allclose(gradtx.core.tree.global_norm(grads), np.sqrt(300000.0), rtol=1e-6)


def test_clipping_zero_gradients():
    """Optax: 0 / 0 where norm and bound are both 0."""
    zeros = jnp.zeros(3)
    (u,), _ = run(gradtx.clip_by_global_norm(1e-30), [zeros], zeros)
    np.testing.assert_array_equal(u, zeros)


def test_a_nan_mini_batch_does_not_poison_the_accumulation():
    """Optax's MultiSteps: 0 * NaN stays in acc_grads, and all later updates are NaN."""
    one, nan = jnp.ones(2), jnp.full(2, jnp.nan)
    out, _ = run(gradtx.accumulate(gradtx.sgd(1.0), 2), [one, nan, nan, nan, one, 3 * one], one)
    np.testing.assert_array_equal([u[0] for u in out], [0, -1, 0, 0, 0, -2])


def test_the_one_cycle_has_a_warm_up_however_short():
    """Optax: cosine_onecycle(3) rounds the warm-up away and starts at the peak."""
    schedule = gradtx.schedules.one_cycle(1.0, 3).learning_rate
    np.testing.assert_allclose(schedule(0), 1 / 25, rtol=1e-6)


def test_skipping_with_bfloat16_parameters_and_float32_gradients():
    """Optax's apply_if_finite: TypeError, cond branches must have equal output types."""
    params, grads = jnp.ones(2, jnp.bfloat16), jnp.ones(2)
    out, _ = run(gradtx.apply_if_finite(gradtx.sgd(0.1, momentum=0.9), 3), [grads] * 2, params)
    np.testing.assert_allclose([u[0] for u in out], [-0.1, -0.19], rtol=1e-6)


def test_momentum_may_be_a_schedule():
    """Optax: TypeError, a function times an array."""
    tx = gradtx.sgd(1.0, momentum=lambda count: 0.5 * count)
    out, _ = run(tx, [jnp.ones(1)] * 3, jnp.ones(1))
    np.testing.assert_allclose([u[0] for u in out], [-1, -1.5, -2.5])


def test_bias_correction_keeps_its_digits():
    """Optax: 1 - 0.999^2 is off by 1.5e-5 in float32, relative."""
    got = gradtx.core.tree.bias_correction(jnp.float32(0.999), jnp.float32(2))
    exact = 1 - float(np.float32(0.999)) ** 2
    np.testing.assert_allclose(got, exact, rtol=3e-7)
