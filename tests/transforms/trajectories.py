"""Trajectories that the tests compare: a small model's parameters and gradients, in float64."""

import jax
import jax.numpy as jnp
import numpy as np

import gradtx

STEPS = 12
SHAPES = {"kernel": (4, 3), "scale": ()}


def start(seed=0):
    rng = np.random.default_rng(seed)
    params = {key: rng.normal(size=shape) for key, shape in SHAPES.items()}
    grads = [
        {key: rng.normal(size=shape) * 10.0 ** rng.integers(-2, 2) for key, shape in SHAPES.items()}
        for _ in range(STEPS)
    ]
    return params, grads


def gradtx_run(tx, params, grads, *, dtype=jnp.float64, jit=False, apply=gradtx.apply_updates):
    """The parameters after each update, each gradient used as it is given."""
    cast = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)
    with jax.enable_x64(dtype == jnp.float64):
        params, out = cast(params), []
        state = tx.init(params)
        update = jax.jit(tx.update) if jit else tx.update
        for g in grads:
            updates, state = update(cast(g), state, params)
            params = apply(params, updates)
            out.append(jax.tree.map(np.asarray, params))
    return out, state


def numpy_run(rule, params, grads):
    """The same for a NumPy rule: a generator function of one leaf, p -> (receives g) -> new p."""
    out = [dict() for _ in grads]
    for key, p in params.items():
        for t, new in enumerate(rule(np.asarray(p), [np.asarray(g[key]) for g in grads])):
            out[t][key] = new
    return out


def assert_same(got, want, *, rtol, atol=0.0):
    assert len(got) == len(want)
    for t, (a, b) in enumerate(zip(got, want, strict=True)):
        assert sorted(a) == sorted(b)
        for key in a:
            np.testing.assert_allclose(
                a[key], b[key], rtol=rtol, atol=atol, err_msg=f"step {t}, {key}"
            )
