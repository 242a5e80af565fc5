"""Derivatives through a compiled fit: those of finite differences in float64, in both modes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.loop import Loop, compiled_fit, cross_entropy, from_linen
from gradtx.models.norm import BatchNorm

RNG = np.random.default_rng(0)
X, LABEL = RNG.normal(size=(24, 5)), RNG.integers(0, 3, 24)
ORDERS = np.stack([RNG.permutation(24).reshape(3, 8) for _ in range(2)])
PARAMS = {"a": RNG.normal(size=(5, 4)), "b": RNG.normal(size=(4, 3))}
SHIFT = RNG.normal(size=(24, 5))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def apply(params, model_state, batch, *, key, training):
    h = jnp.tanh(batch["x"] @ params["a"])
    keep = jax.random.bernoulli(key, 0.8, h.shape) if training else True
    return jnp.where(keep, h, 0) @ params["b"], model_state


def outcome(tx, number, *, remat=False, weight=None, strength=None, **settings):
    """The loss after two epochs, in float64; `number` is what the case makes of it."""
    train = {"x": jnp.asarray(X), "label": jnp.asarray(LABEL), "shift": jnp.asarray(SHIFT)}
    if weight is not None:
        train["weight"] = weight(number)
    prepare = None
    if strength is not None:
        prepare = lambda batch, key: {**batch, "x": batch["x"] + number * batch["shift"]}
    loop = Loop(apply=apply, loss=cross_entropy, tx=tx, prepare=prepare)
    state = loop.init(jax.tree.map(jnp.asarray, PARAMS))
    values = {name: make(number) for name, make in settings.items()}
    state = state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, **values))
    state, _, rows = compiled_fit(loop, state, train, jnp.asarray(ORDERS), remat=remat)
    pred, _ = apply(state.params, {}, train, key=None, training=False)
    return jnp.mean(cross_entropy(pred, train)), rows["train_loss"][-1]


ADAMW = gradtx.adamw(0.02, weight_decay=0.1)
CLIPPED = gradtx.chain(gradtx.clip_by_global_norm(0.3), gradtx.sgd(0.2, momentum=0.8))
SAME = lambda number: number
CASES = {
    "learning rate": (partial(outcome, ADAMW, learning_rate=SAME), 0.02),
    "decay": (partial(outcome, ADAMW, weight_decay=SAME), 0.1),
    "b1": (partial(outcome, ADAMW, b1=SAME), 0.9),
    "momentum, clipped": (partial(outcome, CLIPPED, momentum=SAME), 0.8),
    "max_norm": (partial(outcome, CLIPPED, max_norm=SAME), 0.3),
    "weights": (
        partial(outcome, CLIPPED, weight=lambda w: 1 + w * jnp.sin(jnp.arange(24.0))),
        0.5,
    ),
    "augmentation": (partial(outcome, ADAMW, strength=True), 0.2),
    "muon": (partial(outcome, gradtx.muon(0.02), learning_rate=SAME), 0.02),
}


QUICK = ("momentum, clipped",)
IDS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in CASES]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", IDS)
def test_a_hypergradient_is_that_of_finite_differences(case):
    function, at = CASES[case]
    step = 1e-5
    f = jax.jit(lambda number: function(number)[0])
    want = (f(at + step) - f(at - step)) / (2 * step)
    backwards = jax.jit(jax.grad(lambda number: function(number, remat=True)[0]))(at)
    forwards = jax.jit(lambda number: jax.jvp(f, (number,), (1.0,))[1])(at)
    np.testing.assert_allclose(backwards, want, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(forwards, want, rtol=1e-6, atol=1e-9)
    assert abs(want) > 1e-4


@pytest.mark.thorough
@pytest.mark.usefixtures("float64")
def test_what_the_table_says_of_the_training_has_a_gradient_too():
    """Its figures are float32, and so is the accuracy of finite differences of them."""
    f = jax.jit(lambda number: outcome(ADAMW, number, learning_rate=SAME)[1])
    step = 2e-3
    want = (f(0.02 + step) - f(0.02 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(f)(0.02), want, rtol=5e-3)
    assert abs(want) > 0.1


@pytest.mark.thorough
@pytest.mark.usefixtures("float64")
def test_remat_changes_no_number_and_keeps_less():
    grad = lambda remat: jax.jit(
        jax.grad(lambda n: outcome(ADAMW, n, learning_rate=SAME, remat=remat)[0])
    )
    np.testing.assert_allclose(grad(True)(0.02), grad(False)(0.02), rtol=1e-12)
    sizes = [
        grad(remat).lower(0.02).compile().memory_analysis().temp_size_in_bytes
        for remat in (True, False)
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["native", "fast"])
def test_running_statistics_are_part_of_what_is_differentiated(form):
    """The validation after the fit uses them: without them the gradient is another."""
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            x = nn.Dense(4)(x)
            return nn.Dense(3)(BatchNorm(form=form)(x, train=train))

    net = Net()
    train = {"x": jnp.asarray(X, jnp.float32), "label": jnp.asarray(LABEL)}
    variables = net.init(jax.random.key(0), train["x"], train=False)
    loop = Loop(apply=from_linen(net, inputs="x"), loss=cross_entropy, tx=gradtx.sgd(0.1))

    @jax.jit
    def after(rate):
        state = loop.init(variables["params"], {"batch_stats": variables["batch_stats"]})
        state = state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, learning_rate=rate))
        state, _, _ = compiled_fit(loop, state, train, jnp.asarray(ORDERS))
        pred = loop.apply(
            state.params, state.model_state, train, key=jax.random.key(0), training=False
        )
        return jnp.mean(cross_entropy(pred[0], train))

    step = 1e-2
    want = (after(0.1 + step) - after(0.1 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(after)(0.1), want, rtol=0.02)
