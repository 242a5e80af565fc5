"""What has no derivative is found in the program, and what has one is not accused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
import gradtx.hooks
from gradtx.core.root import root
from gradtx.loop import Loop, cross_entropy, train_step
from gradtx.loop.phases import open_epoch, open_fit
from gradtx.models.norm import BatchNorm
from gradtx.tuning import obstacles
from tests.transforms.table import TRANSFORMS

X = jnp.arange(1.0, 4.0)
BOTH, FORWARD, REVERSE = ("forward", "reverse"), ("forward",), ("reverse",)


def in_a_scan(x):
    return jax.lax.scan(lambda c, y: (c + jnp.round(c), y), x, jnp.arange(3))[0]


def in_a_branch(x):
    return jax.lax.cond(x.sum() > 0, jnp.floor, lambda x: x, x)


def by_a_carry(x):
    """It moves only from the second step on."""
    step = lambda c, _: ((c[1], x), jnp.sign(c[0]))
    return jax.lax.scan(step, (jnp.zeros(3), jnp.zeros(3)), length=3)[1]


FOUND = {
    "sign": (jnp.sign, BOTH, "sign"),
    "rounding": (lambda x: jnp.ceil(x) + x, BOTH, "rounded"),
    "an integer": (lambda x: x[x.astype(jnp.int32)[0]], BOTH, "integer"),
    "stopped": (lambda x: jax.lax.stop_gradient(x), BOTH, "no derivative"),
    "jit": (jax.jit(jnp.sign), BOTH, "sign"),
    "scan": (in_a_scan, BOTH, "rounded"),
    "cond": (in_a_branch, BOTH, "rounded"),
    "carry": (by_a_carry, BOTH, "sign"),
    "remat": (jax.checkpoint(jnp.sign), BOTH, "sign"),
    "vmap": (jax.vmap(jnp.sign), BOTH, "sign"),
    "a callback": (lambda x: jax.pure_callback(lambda y: y, x, x), BOTH, "on the host"),
    "while": (
        lambda x: jax.lax.while_loop(lambda y: y[0] < 9, lambda y: 2 * y, x),
        REVERSE,
        "steps",
    ),
}
NONE = {
    "plain": lambda x: jnp.tanh(x) / x,
    "a choice": lambda x: jnp.where(x > 2, x, -x) + jnp.clip(x, 0, 1) + jnp.sort(x),
    "a norm": lambda x: x / jnp.maximum(root(jnp.vdot(x, x)), 1),
    "of no use": lambda x: (jnp.sign(x), x)[1],
    "of a constant": lambda x: jnp.sign(jnp.arange(3.0)) * x,
    "softmax": lambda x: jax.nn.log_softmax(x),
    "a scan": lambda x: jax.lax.scan(lambda c, y: (c * y, c), x, jnp.arange(3.0)),
    "a loop of 3": lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * y, x),
    "noise": lambda x: x * jax.random.normal(jax.random.key(0), (3,)),
}


@pytest.mark.parametrize("name", FOUND)
def test_an_obstacle_is_found(name):
    function, modes, why = FOUND[name]
    found = obstacles(function, X)
    assert [o.modes for o in found] == [modes] and why in found[0].why
    direct = ("sign", "jit", "remat", "vmap")  # no line of ours calls it
    assert found[0].where == "jax (sign)" if name in direct else "test_obstacles" in found[0].where
    assert str(found[0]).endswith(f"({' and '.join(modes)})")


@pytest.mark.parametrize("name", NONE)
def test_there_is_none(name):
    assert obstacles(NONE[name], X) == []
    jax.jvp(NONE[name], (X,), (X,))
    jax.vjp(NONE[name], X)


def test_a_rule_for_the_reverse_mode_alone_is_none_backwards():
    norm = BatchNorm(form="fast")
    x = jnp.ones((4, 3))
    variables = norm.init(jax.random.key(0), x, train=False)
    call = partial(norm.apply, train=True, mutable=["batch_stats"])
    [found] = obstacles(call, variables, x)
    assert found.modes == FORWARD and "norm.py" in found.where
    assert not obstacles(partial(BatchNorm(form="native").apply, train=False), variables, x)


# By their formulas.
OUR_FLAT = dict.fromkeys(("lion", "scale_by_lion"), "lion.py")
OUR_FLAT |= dict.fromkeys(("sign_sgd", "signum", "scale_by_sign"), "learning_rate.py")


@pytest.mark.parametrize("row", TRANSFORMS, ids=lambda row: row.name)
def test_of_our_transformations_those_with_a_sign_have_one(row):
    tx = optax.with_extra_args_support(row.factory(**row.claims.get("hyperparams", {})))
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(4)}
    state = tx.init(params)
    update = lambda grads: tx.update(grads, state, params, value=jnp.float32(1))[0]
    found = obstacles(update, params)
    wanted = [OUR_FLAT[row.name]] if row.name in OUR_FLAT else []
    assert [o.where.split(":")[0].rsplit("/")[-1] for o in found] == wanted


def test_optaxs_are_asked_too():
    params = jnp.ones(3)
    for tx, count in ((optax.adam(1e-3), 0), (optax.rprop(1e-3), 1), (optax.yogi(1e-3), 1)):
        state = tx.init(params)
        with jax.numpy_dtype_promotion("standard"):
            assert len(obstacles(tx.update, params, state, params)) == count


HOOKS = {
    "ema_params": gradtx.hooks.ema_params(0.9),
    "clip_gradients": gradtx.hooks.clip_gradients(1.0),
    "skip_nonfinite": gradtx.hooks.skip_nonfinite(),
    "terminate_on_nan": gradtx.hooks.terminate_on_nan(),
    "loss_scaling": gradtx.hooks.loss_scaling(),
    "accumulate_gradients": gradtx.hooks.accumulate_gradients(16),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_step_with_hooks_has_a_derivative(name):
    apply = lambda params, model_state, batch, *, key, training: (batch["x"] @ params, model_state)
    batch = {"x": jnp.ones((8, 5)), "label": jnp.asarray(np.arange(8) % 3)}
    loop = Loop(apply=apply, loss=cross_entropy, tx=gradtx.adam(0.1), hooks=[HOOKS[name]])
    state = open_epoch(loop, open_fit(loop, loop.init(jnp.ones((5, 3)))))
    assert obstacles(lambda state: train_step(loop, state, batch), state) == []
