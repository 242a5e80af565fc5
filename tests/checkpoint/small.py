"""A small fit to save: dropout, a model state, hooks with states, two epochs and more."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import gradtx
from gradtx.hooks import ema_params
from gradtx.loop import Loop

RNG = np.random.default_rng(0)


def batch():
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    return {"x": x, "y": x.sum(-1)}


BATCHES = [batch() for _ in range(4)]


def apply(params, model_state, batch, *, key, training):
    x = batch["x"]
    if training:
        x = jnp.where(jax.random.bernoulli(key, 0.75, x.shape), x, 0.0)
        model_state = {"mean": jnp.float32(0.9) * model_state["mean"] + x.mean(0)}
    return jnp.tanh(x @ params["hidden"]["kernel"]) @ params["w"], model_state


def squares(pred, batch):
    return jnp.square(pred - batch["y"])


@cache
def made():
    """`make()`, once: what is compiled for its loop serves all tests."""
    return make()


def make(tx=None, *, width=5, seed=0, hooks=None):
    """A loop and its first state."""
    keys = jax.random.split(jax.random.key(seed))
    params = {
        "hidden": {"kernel": jax.random.normal(keys[0], (3, width))},
        "w": jax.random.normal(keys[1], (width,)),
    }
    tx = gradtx.adamw(0.05) if tx is None else tx
    mae = lambda pred, batch: jnp.abs(pred - batch["y"])
    loop = Loop(apply, squares, tx, {"mae": mae}, [ema_params(0.5)] if hooks is None else hooks)
    return loop, loop.init(params, {"mean": jnp.zeros(3)}, seed=seed)
