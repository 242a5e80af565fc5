"""A training can be differentiated, also where gradients or parameters are zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import optimizers
from gradtx.core.root import root
from gradtx.optimizers import presets
from tests.transforms.table import TRANSFORMS

ALIASES = {
    name: getattr(module, name) for module in (optimizers, presets) for name in module.__all__
}
ROOTS = ["adam", "amsgrad", "qhadam", "lamb", "lars", "fastai_radam", "torch_rmsprop"]
MADE = {
    **{name: (lambda name=name: ALIASES[name](0.1)) for name in ROOTS},
    "clip_by_global_norm": lambda: gradtx.clip_by_global_norm(1.0),
    "clip_by_block_norm": lambda: gradtx.clip_by_block_norm(1.0),
    "clip_by_block_rms": lambda: gradtx.clip_by_block_rms(0.0),
    "adaptive_grad_clip": lambda: gradtx.adaptive_grad_clip(0.1, eps=0.0),
    "scale_by_stddev": lambda: gradtx.scale_by_stddev(eps_in_sqrt=False),
    "scale_by_rss": lambda: gradtx.scale_by_rss(0.0, 0.0),
}
REST = {
    **{
        row.name: lambda row=row: row.factory(**row.claims.get("hyperparams", {}))
        for row in TRANSFORMS
    },
    **{
        f"alias {name}": lambda name=name: ALIASES[name](0.1)
        for name in ALIASES
        if name not in MADE
    },
}


def trained(tx, params, gradients):
    """A number that depends on each element after each of the updates."""
    state, total = tx.init(params), 0.0
    for g in gradients:
        updates, state = tx.update(g, state, params)
        params = gradtx.apply_updates(params, updates)
        for x in jax.tree.leaves(params):
            total += jnp.vdot(x, jnp.arange(1.0, 1 + x.size).reshape(x.shape))
    return total


def check(tx, places):
    full = lambda value: {"a": jnp.full((2, 3), value), "b": jnp.full(3, value)}
    for p, g in places:
        derive = jax.value_and_grad(lambda p, g: trained(tx, p, [g, g]), argnums=(0, 1))
        found = derive(full(p), full(g))
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found)), (p, g, found)


@pytest.mark.parametrize("name", MADE)
def test_derivatives_at_zero_are_finite(name):
    check(MADE[name](), [(0.0, 0.0)])


@pytest.mark.thorough
@pytest.mark.parametrize("name", MADE | REST)
def test_derivatives_at_zero_are_finite_of_every_transformation(name):
    check((MADE | REST)[name](), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])


def test_the_root_is_sqrt_in_the_program_and_by_the_bit():
    x = jnp.asarray(np.r_[0.0, np.geomspace(1e-38, 1e38, 999), np.inf], jnp.float32)
    np.testing.assert_array_equal(root(x), jnp.sqrt(x))
    assert np.isnan(root(jnp.float32(-1.0)))
    text = lambda f: jax.jit(lambda x: 2 * f(x)).lower(x).as_text()
    assert text(root) == text(jnp.sqrt)


def test_the_derivatives_of_the_root():
    of = jax.vmap(jax.grad(root))(jnp.array([0.0, 0.25, 4.0]))
    np.testing.assert_allclose(of, [0.0, 1.0, 0.25])
    of = jax.vmap(jax.grad(jax.grad(root)))(jnp.array([0.0, 4.0]))
    np.testing.assert_allclose(of, [0.0, -1 / 32])
