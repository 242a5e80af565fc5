"""What a chain does with parts that are not its own: functions around ours, strangers' results."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.full((2, 3), 0.5)}
GRADS = {"a": jnp.array([0.3, 0.1]), "b": jnp.full((2, 3), -0.2)}


def times(factor, tx, wrap=lambda update: lambda function: function):
    """A hand-written pair around a transformation of ours."""

    @wrap(tx.update)
    def update(updates, state, params=None, **extra):
        updates, state = tx.update(updates, state, params, **extra)
        return jax.tree.map(lambda u: factor * u, updates), state

    return optax.GradientTransformationExtraArgs(tx.init, update)


@pytest.mark.parametrize("wrap", [lambda update: lambda function: function, functools.wraps])
def test_a_function_around_one_of_ours_is_called(wrap):
    last = gradtx.scale_by_learning_rate(0.1)
    inner = gradtx.scale_by_adam(eps=1e-3)
    tx = gradtx.chain(times(100.0, inner, wrap), last)
    plain = gradtx.chain(inner, last)
    state, other = tx.init(PARAMS), plain.init(PARAMS)
    for _ in range(3):
        got, state = jax.jit(tx.update)(GRADS, state, PARAMS)
        want, other = plain.update(GRADS, other, PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 100 * b, rtol=1e-5), got, want)
    assert int(state.count) == 3


def returning(make):
    """A stranger that returns what `make` makes of each update."""
    return optax.stateless(lambda g, p: jax.tree.map(make, g))


STRANGERS = {
    "bools": (lambda g: g > 0, TypeError, r"an array of numbers; got bool"),
    "text": (lambda g: "text", TypeError, r"every leaf of `updates` must be an array; got str"),
    "other shapes": (lambda g: g[:1], ValueError, r"`updates` must match `params`"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_a_stranger_returns_is_looked_at(name):
    make, error, message = STRANGERS[name]
    tx = gradtx.chain(returning(make), gradtx.scale_by_adam())
    with pytest.raises(error, match=rf"^scale_by_adam\.update: .*{message}"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_a_rule_may_read_the_step_where_it_is_traced():
    """Two shapes: each has a program of its own inside the update's."""
    tx = gradtx.leafwise("late", lambda h: lambda g, p: g * h.step)
    state = tx.init(PARAMS)
    for n in (1, 2, 3):
        got, state = jax.jit(tx.update)(GRADS, state)
        jax.tree.map(lambda u, g: np.testing.assert_allclose(u, n * g, rtol=1e-6), got, GRADS)  # noqa: B023


@pytest.mark.parametrize("name", ["step", "count"])
def test_a_hyperparameter_may_not_have_the_name_of_what_is_there(name):
    with pytest.raises(TypeError, match=rf"^mine: a hyperparameter must not .* got `{name}`\."):
        gradtx.leafwise("mine", lambda h: lambda g, p: g, **{name: (0.1, gradtx.REAL)})
