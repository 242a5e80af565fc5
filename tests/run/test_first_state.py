"""Programs that run once: the same first state as step by step, in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.hooks import early_stopping, ema_params
from gradtx.loop import Loop
from gradtx.run.first_state import first_state


def init(key):
    normal = lambda i, *shape: jax.random.normal(jax.random.fold_in(key, i), shape)
    params = {"kernel": normal(0, 7, 5), "wide": normal(1, 3, 3, 8, 4), "bias": jnp.zeros(5)}
    return params, {"mean": jnp.ones(5)}


LOOP = Loop(
    apply=lambda *args, **kwargs: (None, {}),
    loss=lambda pred, batch: jnp.square(pred),
    tx=gradtx.adamw(1e-3),
    hooks=[ema_params(0.9), early_stopping(patience=2)],
)


def begin(key):
    """Parameters, and all that a loop with hooks keeps of them."""
    params, model_state = init(key)
    return LOOP.init(params, model_state, seed=key)


def leaves(state):
    state = state.replace(key=jax.random.key_data(state.key))
    return [(path, np.asarray(x)) for path, x in jax.tree.leaves_with_path(state)]


@pytest.mark.parametrize("usual", [begin, jax.jit(begin)], ids=["operations", "program"])
def test_a_state_is_that_of_the_usual_way(usual):
    got, want = first_state(LOOP, init, seed=3), usual(jax.random.key(3))
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), (_, b) in zip(leaves(got), leaves(want), strict=True):
        assert a.dtype == b.dtype, path
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=str(path))


def test_no_two_leaves_share_a_buffer():
    """A step takes the whole state's buffers, each once."""
    state = first_state(LOOP, init)
    own = jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
    assert len({x.unsafe_buffer_pointer() for x in own}) == len(own)
