"""Which dtypes the policy gives to what, and training in half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx import hooks
from gradtx.loop import Hook, take, train_step
from gradtx.precision import Policy, cast_floating, with_policy
from tests.loop import small

BATCH = take(small.DATA, small.orders()[0, 0])


def net(params, model_state, batch, *, key, training):
    """In whatever dtype it is given, statistics too."""
    hidden = jnp.tanh(batch["x"] @ params["w1"] + params["b"][None])
    return (hidden @ params["w2"])[:, 0], {"mean": hidden.mean(axis=0)}


def test_named_policies():
    assert Policy.of("bf16") == Policy(compute=jnp.bfloat16)
    dtypes = {name: Policy.of(name).needs_loss_scaling for name in ("f32", "bf16", "f16")}
    assert dtypes == {"f32": False, "bf16": False, "f16": True}
    with pytest.raises(ValueError, match=r"Policy.of: `name` must be one of f32, bf16, f16"):
        Policy.of("fp8")
    with pytest.raises(ValueError, match=r"Policy: `compute` must be a floating dtype; got int32"):
        Policy(compute=jnp.int32)


def test_only_floating_leaves_are_cast():
    tree = {"x": jnp.ones(2), "n": jnp.arange(2), "key": jax.random.key(0), "none": None}
    low = cast_floating(tree, jnp.float16)
    assert low["x"].dtype == jnp.float16 and low["n"].dtype == jnp.int32
    assert low["key"] is tree["key"] and low["none"] is None


@pytest.mark.parametrize("name", ["bf16", "f16"])
def test_the_model_computes_in_half_and_everything_kept_is_float32(name):
    seen = {}

    def apply(params, model_state, batch, **how):
        seen.update(w=params["w1"].dtype, x=batch["x"].dtype, mean=model_state["mean"].dtype)
        return net(params, model_state, batch, **how)

    policy = Policy.of(name)
    loop = small.make(hooks.loss_scaling(), apply=with_policy(apply, policy))
    state = small.start(loop)
    new, log = jax.jit(train_step, static_argnums=0)(loop, state, BATCH)
    assert seen == {"w": policy.compute, "x": policy.compute, "mean": jnp.float32}
    kept = jax.tree.leaves((new.params, new.model_state, new.opt_state, log["loss"]))
    assert all(x.dtype in (jnp.float32, jnp.int32) for x in kept)
    pred = lambda p: small.apply(p, state.model_state, BATCH, key=None, training=False)[0]
    want = float(jnp.mean(jnp.square(pred(state.params) - BATCH["y"])))
    assert float(log["loss"]) == pytest.approx(want, rel=0.03)
    assert float(log["loss"]) != want


def test_scaling_saves_gradients_that_vanish_in_float16():
    """Activation gradients of 1e-9 are zero in float16; scaled by 2^16 they are not."""
    tiny = lambda pred, batch: 1e-9 * pred
    apply = with_policy(net, Policy.of("f16"))
    grads = {}
    for scale in (False, True):
        keep = gradient_keeper()
        chosen = [hooks.loss_scaling(), keep] if scale else [keep]
        loop = small.make(*chosen, apply=apply, loss=tiny)
        new, _ = jax.jit(train_step, static_argnums=0)(loop, small.start(loop), BATCH)
        grads[scale] = np.abs(new.hooks["keep"]["w1"]).max()
    assert grads[False] == 0 and 0 < grads[True] < 1e-8


def gradient_keeper():
    keep = {"after_backward": lambda state, m: (m.grads, m)}
    return Hook("keep", keep, init=lambda state: state.params)
