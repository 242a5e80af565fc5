"""A small fit for observers to watch: three batches an epoch, validation, a metric."""

import jax.numpy as jnp
import numpy as np

import gradtx
from gradtx.loop import Hook, Loop, Request

RNG = np.random.default_rng(0)
GROUPS = gradtx.label_by(all="*")


def batch():
    x = RNG.normal(size=(4, 2)).astype(np.float32)
    return {"x": jnp.asarray(x), "y": jnp.asarray(x.sum(-1))}


BATCHES = [batch() for _ in range(3)]


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], model_state


def squares(pred, batch):
    return jnp.square(pred - batch["y"])


def absolute(pred, batch):
    return jnp.abs(pred - batch["y"])


def at(step, value, request=Request.CONTINUE):
    """The recorded loss of this step is `value`, and `request` is asked for."""

    def after_loss(state, context):
        here = context.step == step
        loss = jnp.where(here, value, context.loss)
        return state, context.replace(loss=loss).request(request, here)

    return Hook(f"at_{step}", {"after_loss": after_loss})


def nan_at(step):
    """The recorded loss of this step is NaN."""
    return at(step, jnp.nan)


def end_phase_at(step):
    """The training phase ends in this step."""
    return at(step, 7.0, Request.END_PHASE)


def make(*hooks):
    """A loop with a learning rate by group, and its state."""
    tx = gradtx.sgd(gradtx.by_group(GROUPS, all=0.125), 0.5)
    loop = Loop(apply, squares, tx, {"mae": absolute}, hooks)
    return loop, loop.init({"w": jnp.zeros(2)})
