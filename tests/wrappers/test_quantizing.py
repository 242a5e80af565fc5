"""Moments in 8 bits."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import P

import gradtx
import gradtx.tuning
from gradtx.parallel.mesh import make_mesh, state_shardings
from gradtx.wrappers.blockwise import dequantize, dynamic_map, quantize

RECORD = json.loads((Path(__file__).parents[1] / "golden" / "torch_8bit.json").read_text())
START, GRADS = RECORD["start"]["w"], [g["w"] for g in RECORD["grads"]]


class State(NamedTuple):
    params: Any
    opt_state: Any


def in_numpy(x, block_size):
    """The nearest value of the map for each number, by looking at all of them."""
    out = np.empty_like(x)
    for i in range(0, len(x), block_size):
        block = x[i : i + block_size]
        size = np.abs(block).max()
        values = dynamic_map(bool((block < 0).any())).astype(np.float64)
        nearest = np.abs(block[:, None] / (size or 1) - values).argmin(1)
        out[i : i + block_size] = values[nearest] * size
    return out


def adam_in_numpy(p, grads, *, lr, block_size, b1=0.9, b2=0.999, eps=1e-8):
    mu, nu = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        p = p - lr * mu / (1 - b1**t) / (np.sqrt(nu / (1 - b2**t)) + eps)
        mu, nu = in_numpy(mu, block_size), in_numpy(nu, block_size)
        yield p


@pytest.mark.parametrize("signed", [True, False])
def test_the_map_is_bitsandbytes(signed):
    want = RECORD["signed" if signed else "unsigned"]
    np.testing.assert_allclose(dynamic_map(signed), want, rtol=1e-6, atol=1e-12)
    assert len(set(dynamic_map(signed).tolist())) == 256


@pytest.mark.parametrize("shape", [(512,), (5, 7), (3,), ()])
def test_quantize_takes_the_nearest_value(shape):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-6, 2, size=shape), np.float32)
    for given in (x, np.abs(x)):
        code, scale = quantize(jnp.asarray(given), 16)
        assert (code.dtype, code.shape, scale.shape) == (jnp.uint8, shape, (-(-x.size // 16),))
        got = dequantize(code, scale, 16)
        want = in_numpy(given.reshape(-1).astype(np.float64), 16).reshape(shape)
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_what_is_not_finite_takes_its_block():
    code, scale = quantize(jnp.array([1.0, jnp.nan, 2.0, 3.0, jnp.inf, 1.0]), 2)
    got = dequantize(code, scale, 2)
    np.testing.assert_array_equal(np.isfinite(got), [False, False, True, True, False, False])


def test_adam_in_float64_is_its_formula():
    tx = gradtx.quantize_moments(gradtx.adam(0.01), block_size=100, min_size=1)
    with jax.enable_x64(True):
        p = jnp.asarray(START, jnp.float64)
        state = tx.init(p)
        rule = adam_in_numpy(np.asarray(p), np.asarray(GRADS), lr=0.01, block_size=100)
        for g, want in zip(GRADS, rule, strict=True):
            u, state = tx.update(jnp.asarray(g, p.dtype), state, p)
            p = p + u
            np.testing.assert_allclose(p, want, rtol=1e-9)


def test_the_recorded_trajectory_of_bitsandbytes():
    """Codes differ where a number lies on a bound; 1 - b2 of float32 is off by 5e-5."""
    tx = gradtx.quantize_moments(gradtx.adam(0.01), min_size=1)
    p = jnp.asarray(START, jnp.float32)
    state, update = tx.init(p), jax.jit(tx.update)
    for g, want in zip(GRADS, RECORD["params"], strict=True):
        u, state = update(jnp.asarray(g, jnp.float32), state)
        p = p + u
        far = np.abs(p - np.asarray(want["w"], np.float32)) > 1e-6
        assert far.mean() < 0.01
    adam = state.slots["inner"][0]
    for name, codes, scales in (("mu", "state1", "absmax1"), ("nu", "state2", "absmax2")):
        off = np.asarray(adam.slots[name], int) - np.asarray(RECORD["state"][codes])
        assert np.abs(off).max() <= 1 and (off != 0).mean() < 0.01
        scale = state.slots["scales"][f"slots/0/slots/{name}"]
        np.testing.assert_allclose(np.abs(scale), RECORD["state"][scales], rtol=1e-4)


def test_bytes_of_the_state_for_a_parameter():
    params = {"kernel": jnp.zeros((256, 512)), "bias": jnp.zeros(512)}
    state = gradtx.quantize_moments(gradtx.adamw(0.1)).init(params)
    size = sum(x.nbytes for x in jax.tree.leaves(state) if x.ndim)
    assert size == 2 * (256 * 512 * (1 + 4 / 256) + 4 * 512)
    assert state.slots["inner"][0].mu["bias"].dtype == jnp.float32


def test_what_did_not_change_keeps_its_codes():
    g = {"a": -jnp.arange(1.0, 33.0), "b": jnp.ones(8)}
    inner = gradtx.skip_if_not_finite(gradtx.sgd(0.1, 0.9))
    tx = gradtx.quantize_moments(inner, block_size=8, min_size=1)
    update = jax.jit(tx.update)
    _, before = update(g, tx.init(g))
    for other in ({"a": None, "b": g["b"]}, {"a": g["a"].at[0].set(jnp.nan), "b": g["b"]}):
        _, after = update(other, before)
        of_a = lambda state: [
            x
            for path, x in jax.tree.leaves_with_path(state.slots)
            if str(getattr(path[-1], "key", "")).endswith("a")
        ]
        jax.tree.map(np.testing.assert_array_equal, of_a(after), of_a(before))


def test_optaxs_optimizers_and_averages_of_parameters():
    p = jnp.ones((8, 8))
    state = gradtx.quantize_moments(optax.adam(0.1), min_size=1).init(p)
    assert state.slots["inner"][0].mu.dtype == jnp.uint8
    kept = gradtx.quantize_moments(gradtx.schedule_free_adamw(0.1), min_size=1).init(p)
    dtypes = {
        jax.tree_util.keystr(path): x.dtype
        for path, x in jax.tree.leaves_with_path(kept) if x.shape == p.shape
    }  # fmt: skip
    assert sorted(map(str, dtypes.values())) == ["float32", "uint8"]  # z, nu


def test_an_optimizer_without_moments_is_refused():
    with pytest.raises(
        ValueError, match=r"must hold moments of the parameters, called e_g, .* non"
    ):
        gradtx.quantize_moments(gradtx.sgd(0.1)).init(jnp.ones(3))


def test_bfloat16_moments_work_in_float32():
    p = jnp.ones(4096, jnp.bfloat16)
    tx = gradtx.quantize_moments(gradtx.adam(0.1, mu_dtype=jnp.bfloat16))
    u, state = jax.eval_shape(tx.update, p, tx.init(p))
    assert u.dtype == jnp.bfloat16
    assert {x.dtype.name for x in state.slots["scales"].values()} == {"float32"}


def test_moments_in_8_bits_say_that_they_have_no_derivative():
    tx, p = gradtx.quantize_moments(gradtx.adam(0.1), min_size=1), jnp.ones(3)
    found = gradtx.tuning.obstacles(tx.update, p, tx.init(p))
    assert {x.why for x in found} == {"it is told to have no derivative"}
    assert "gradtx/wrappers/" in found[0].where


def test_codes_lie_where_their_parameter_lies():
    """Blocks that are whole on a device follow; the numbers are those of one device."""
    mesh = make_mesh("data=4,fsdp=2")
    params = {"kernel": jnp.linspace(-1, 1, 512 * 64).reshape(512, 64)}
    tx = gradtx.quantize_moments(gradtx.adam(0.1), block_size=16)
    state = tx.init(params)
    where = state_shardings(State(params, state), mesh, {"kernel": P("fsdp")})
    adam = where.opt_state.slots["inner"].slots[0]
    assert adam.slots["mu"]["kernel"].spec == P("fsdp")
    assert {x.spec for x in where.opt_state.slots["scales"].values()} == {P("fsdp")}
    placed = jax.device_put(State(params, state), where)
    update = jax.jit(tx.update, out_shardings=(where.params, where.opt_state))
    for _ in range(2):
        u, state = tx.update(params, state)
        got, new = update(placed.params, placed.opt_state)
        placed = State(placed.params, new)
        np.testing.assert_allclose(got["kernel"], u["kernel"], rtol=1e-5)
    codes = new.slots["inner"].slots[0].slots["mu"]["kernel"]
    assert {x.data.shape for x in codes.addressable_shards} == {(256, 64)}
    np.testing.assert_array_equal(codes, state.slots["inner"].slots[0].slots["mu"]["kernel"])
