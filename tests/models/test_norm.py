"""The norm's two forms: the same gradients, also by the statistics, and forward mode."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.models import resnet_tiny
from gradtx.models.norm import BatchNorm

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
WEIGHTS = np.float32([[0.3, -1.0, 2.0]])


def outcome(form, uses, x, params):
    """What depends on the output, on the running statistics, or on both."""
    norm = BatchNorm(form=form)
    start = {"mean": jnp.zeros(3), "var": jnp.ones(3)}
    call = partial(norm.apply, train=True, mutable=["batch_stats"])
    y, new = call({"params": params, "batch_stats": start}, x)
    stats = jnp.sum(jnp.sin(jnp.stack(list(new["batch_stats"].values()))) * WEIGHTS)
    terms = {"y": jnp.sum(jnp.cos(y) * WEIGHTS), "stats": stats}
    return sum((terms[name] for name in uses), jnp.float32(0))


PARAMS = {"scale": jnp.array([1.0, 0.5, 2.0]), "bias": jnp.array([0.1, -0.2, 0.3])}


@pytest.mark.parametrize("uses", [("y",), ("stats",), ("y", "stats")])
def test_the_forms_have_one_gradient_also_by_the_statistics(uses):
    gradient = lambda form: jax.grad(partial(outcome, form, uses), argnums=(0, 1))(X, PARAMS)
    fast, native = gradient("fast"), gradient("native")
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), fast, native)
    if uses == ("stats",):
        assert np.abs(fast[0]).max() > 0.01


def test_the_native_form_has_a_derivative_forwards():
    f = partial(outcome, "native", ("y", "stats"), params=PARAMS)
    direction = np.cos(X)
    got = jax.jvp(f, (X,), (direction,))[1]
    np.testing.assert_allclose(got, np.vdot(jax.grad(f)(X), direction), rtol=1e-4)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(partial(outcome, "fast", ("y",), params=PARAMS), (X,), (direction,))
    with pytest.raises(ValueError, match="`form` is one of"):
        outcome("slow", ("y",), X, PARAMS)


@pytest.mark.thorough
@pytest.mark.parametrize("head", ["plain", "concat"])
def test_a_native_network_has_a_derivative_forwards(head):
    model = resnet_tiny(num_classes=3, head=head, conv_form="native")
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), x, train=False)

    def loss(scale):
        params = jax.tree.map(lambda p: p * scale, variables["params"])
        out, _ = model.apply(
            {**variables, "params": params},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(1)},
        )
        return jnp.mean(jnp.square(out))

    one = jnp.float32(1)
    got = jax.jit(lambda s: jax.jvp(loss, (s,), (s,))[1])(one)
    np.testing.assert_allclose(got, jax.jit(jax.grad(loss))(one), rtol=1e-3)
