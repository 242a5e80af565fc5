"""SOAP: its formula, what has a matrix, where its state lies."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import P

import gradtx
import gradtx.tuning
from gradtx.parallel.mesh import make_mesh, state_shardings
from gradtx.transforms.soap import _merged
from tests.transforms.trajectories import assert_same, gradtx_run


class State(NamedTuple):
    params: Any
    opt_state: Any


def soap_in_numpy(p, grads, *, lr, b1, b2, eps, frequency, wd, sides=(True, True)):
    """One matrix; `sides` says whether it is rotated from the left and from the right."""
    m, n = p.shape
    mu, nu, left, right = np.zeros_like(p), np.zeros_like(p), np.zeros((m, m)), np.zeros((n, n))
    q = [np.eye(m), np.eye(n)]
    for t, g in enumerate(grads):
        u = 0.0
        if t:
            mu, rotated = b1 * mu + (1 - b1) * g, q[0].T @ g @ q[1]
            nu = b2 * nu + (1 - b2) * rotated**2
            m_hat = q[0].T @ mu @ q[1] / (1 - b1**t) * np.sqrt(1 - b2**t)
            u = q[0] @ (m_hat / (np.sqrt(nu) + eps)) @ q[1].T
        p = p - lr * (u + wd * p)
        left, right = b2 * left + (1 - b2) * g @ g.T, b2 * right + (1 - b2) * g.T @ g
        for i, factor in enumerate((left, right)):
            if not sides[i]:
                continue
            if t == 0:
                q[i] = np.linalg.eigh(factor)[1][:, ::-1]
            elif t % frequency == 0:
                order = np.argsort(-np.diag(q[i].T @ factor @ q[i]))
                nu = nu[order] if i == 0 else nu[:, order]
                q[i] = np.linalg.qr(factor @ q[i][:, order])[0]
        yield p


@pytest.mark.parametrize(("longest", "sides"), [(10, (True, True)), (3, (False, True))])
def test_soap_is_its_formula_in_float64(longest, sides):
    rng = np.random.default_rng(0)
    p, grads = rng.normal(size=(4, 3)), [rng.normal(size=(4, 3)) for _ in range(9)]
    tx = gradtx.soap(0.1, 0.9, 0.8, 1e-6, 0.1, precondition_frequency=3, max_precond_dim=longest)
    got, _ = gradtx_run(tx, {"w": p}, [{"w": g} for g in grads], jit=True)
    want = soap_in_numpy(
        p, grads, lr=0.1, b1=0.9, b2=0.8, eps=1e-6, frequency=3, wd=0.1, sides=sides
    )
    assert_same(got, [{"w": x} for x in want], rtol=1e-8, atol=1e-10)


def test_without_a_matrix_it_is_adam_a_step_later():
    rng = np.random.default_rng(1)
    p, grads = {"w": rng.normal(size=5)}, [{"w": rng.normal(size=5)} for _ in range(4)]
    got, state = gradtx_run(gradtx.soap(0.1, 0.9, 0.99, 0.0, None), p, grads)
    want, _ = gradtx_run(gradtx.adam(0.1, 0.9, 0.99, 0.0), p, grads[1:])
    assert_same(got[1:], want, rtol=1e-10)
    assert not jax.tree.leaves((state[0]["factors"], state[0]["bases"]))


def test_turned_axes_turn_the_update():
    """What the bases are for: Adam's update depends on the axes, SOAP's does not."""
    rng = np.random.default_rng(2)
    turn = lambda n: np.linalg.qr(rng.normal(size=(n, n)))[0]
    left, right = turn(4), turn(3)
    grads = [{"w": rng.normal(size=(4, 3))} for _ in range(6)]
    turned = [{"w": left @ g["w"] @ right} for g in grads]

    def moved(make, gs):
        return gradtx_run(make, {"w": np.zeros((4, 3))}, gs, jit=True)[0]

    soap = gradtx.soap(0.1, weight_decay=None, precondition_frequency=2)
    want = [{"w": left @ p["w"] @ right} for p in moved(soap, grads)]
    assert_same(moved(soap, turned), want, rtol=1e-7, atol=1e-9)
    plain = left @ moved(gradtx.adam(0.1), grads)[-1]["w"] @ right
    assert abs(moved(gradtx.adam(0.1), turned)[-1]["w"] - plain).max() > 0.1


@pytest.mark.parametrize(
    ("shape", "longest", "want"),
    [
        ((3, 3, 8, 16), 80, (72, 16)),
        ((3, 3, 8, 16), 10_000, (1152,)),
        ((100, 2, 3), 10, (100, 6)),
        ((1, 1), 10, (1,)),
        ((20, 30), 10, (20, 30)),
    ],
)
def test_merged_dimensions(shape, longest, want):
    assert _merged(shape, longest) == want


def test_bytes_of_the_state_and_where_they_lie():
    """Moments where the parameter is; matrices by `leaf_spec`; the update that of one device."""
    mesh, n = make_mesh("data=4,fsdp=2"), 32
    rng = np.random.default_rng(0)
    turn = lambda: np.linalg.qr(rng.normal(size=(n, n)))[0]
    # With singular values far from each other, bases do not depend on rounding.
    params = {"kernel": jnp.asarray(turn() * np.linspace(1, 2, n) @ turn(), jnp.float32)}
    tx = gradtx.soap(0.1, weight_decay=None, precondition_frequency=1)
    state = tx.init(params)
    size = sum(x.nbytes for x in jax.tree.leaves(state) if x.ndim)
    assert size == 24 * n * n
    where = state_shardings(State(params, state), mesh, {"kernel": P("fsdp")})
    soap = where.opt_state.slots[0].slots
    assert {soap[name]["kernel"].spec for name in ("mu", "nu")} == {P("fsdp")}
    assert [x.spec for x in soap["bases"]["kernel"]] == [P(None, "fsdp")] * 2
    placed = jax.device_put(State(params, state), where)
    update = jax.jit(tx.update, out_shardings=(where.params, where.opt_state))
    plain, grads = jax.jit(tx.update), params
    for _ in range(3):
        u, state = plain(grads, state)
        got, new = update(jax.device_put(grads, where.params), placed.opt_state)
        placed = State(placed.params, new)
        np.testing.assert_allclose(got["kernel"], u["kernel"], rtol=1e-3, atol=1e-4)
        grads = {"kernel": grads["kernel"] + 0.3 * grads["kernel"][::-1]}


def test_its_bases_are_constants_and_it_says_so():
    tx, p = gradtx.scale_by_soap(), jnp.ones((3, 3))
    found = gradtx.tuning.obstacles(tx.update, p, tx.init(p))
    assert "it is told to have no derivative" in {x.why for x in found}


def test_complex_matrices_and_low_precision():
    rng = np.random.default_rng(3)
    tx, z = gradtx.scale_by_soap(eps=1e-3, precondition_frequency=1), rng.normal(size=(2, 3, 3))
    g = jnp.asarray(z[0] + 1j * z[1], jnp.complex64)
    state, update = tx.init(g), jax.jit(tx.update)
    for _ in range(3):
        u, state = update(g, state)
    # Of a constant gradient the singular values become one.
    values = np.linalg.svd(np.asarray(u), compute_uv=False)
    np.testing.assert_allclose(values, 1, rtol=1e-2)
    low = jnp.ones((2, 2), jnp.bfloat16)
    u, state = update(low, tx.init(low))
    assert u.dtype == jnp.bfloat16
    assert {x.dtype.name for x in jax.tree.leaves(state) if x.ndim} == {"float32"}
