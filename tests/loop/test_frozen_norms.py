"""Frozen batch norms: their outputs by running statistics, which stay, against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradtx
from gradtx.loop import Hook, Loop, Request, freeze_norms, from_linen, from_nnx
from gradtx.precision import Policy, with_policy
from gradtx.recipes import fine_tune
from models.norm import BatchNorm

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(8, 3)) + 2).astype(np.float32)
MEAN, VAR = np.array([1.0, 2, 3]), np.array([4.0, 1, 0.25])  # the running statistics
BATCH = {"image": X, "label": X[:, 0]}
KEY = jax.random.key(0)


class ByField(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="body")(x)
        return nn.BatchNorm(use_running_average=not train, momentum=0.5, name="head")(jnp.tanh(x))


class ByCall(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(momentum=0.5, name="body")(x, not train)
        return nn.BatchNorm(momentum=0.5, name="head")(jnp.tanh(x), use_running_average=not train)


class Ours(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = BatchNorm(momentum=0.5, name="body")(x, train=train)
        return BatchNorm(momentum=0.5, name="head")(jnp.tanh(x), train=train)


def linen(module):
    variables = dict(module.init(KEY, X, train=False))
    params = variables.pop("params")
    stats = {"mean": jnp.float32(MEAN), "var": jnp.float32(VAR)}
    variables["batch_stats"]["body"] = stats
    return from_linen(module), params, variables


def call(apply, params, model_state, training=True):
    with jax.numpy_rank_promotion("raise"):
        run = jax.jit(lambda *a: apply(*a, key=KEY, training=training))
        return jax.tree.map(np.asarray, run(params, model_state, BATCH))


def normalized(x, mean, var):
    return (np.float64(x) - mean) / np.sqrt(var + 1e-5)


def both(x):
    """The frozen norm by its running statistics, then the other one by the batch's."""
    y = np.tanh(normalized(x, MEAN, VAR))
    return y, normalized(y, y.mean(0), y.var(0))


@pytest.mark.parametrize("module", [ByField, ByCall, Ours])
def test_a_frozen_linen_norm_uses_and_keeps_its_statistics(module):
    apply, params, model_state = linen(module())
    pred, new = call(freeze_norms(apply, "body/*"), params, model_state)
    y, want = both(X)
    np.testing.assert_allclose(pred, want, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(new["batch_stats"]["body"]["mean"], np.float32(MEAN))
    np.testing.assert_array_equal(new["batch_stats"]["body"]["var"], np.float32(VAR))
    np.testing.assert_allclose(new["batch_stats"]["head"]["mean"], y.mean(0) / 2, rtol=1e-4)
    # Without, and outside training, all is as it was.
    assert not np.allclose(call(apply, params, model_state)[0], want, atol=0.1)
    moved = call(apply, params, model_state)[1]["batch_stats"]["body"]["mean"]
    np.testing.assert_allclose(moved, (MEAN + X.mean(0)) / 2, rtol=1e-5)
    plain = call(apply, params, model_state, training=False)
    frozen = call(freeze_norms(apply, "body/*"), params, model_state, training=False)
    jax.tree.map(np.testing.assert_array_equal, plain, frozen)


def test_a_norm_is_frozen_only_with_all_of_its_parameters():
    apply, params, model_state = linen(ByField())
    some = gradtx.matching("body/*", "head/scale")
    pred, _ = call(freeze_norms(with_policy(apply, Policy()), some), params, model_state)
    np.testing.assert_allclose(pred, both(X)[1], rtol=1e-3, atol=1e-3)
    twice = freeze_norms(freeze_norms(apply, "body/*"), "head/*")
    _, new = call(twice, params, model_state)
    jax.tree.map(np.testing.assert_array_equal, new, jax.tree.map(np.asarray, model_state))
    for nothing in ("head/scale", False):
        with pytest.raises(ValueError, match="must hold all parameters of a batch norm"):
            call(freeze_norms(apply, nothing), params, model_state)
    with pytest.raises(TypeError, match="freeze_norms: `frozen` must be a tree of bools"):
        freeze_norms(apply, 3.5)


def test_flax_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norms = nnx.List([nnx.BatchNorm(3, momentum=0.5, rngs=rngs) for _ in range(2)])

        def __call__(self, x):
            return self.norms[1](jnp.tanh(self.norms[0](x)))

    apply, params, model_state = from_nnx(Net(nnx.Rngs(0)))
    stats = {"mean": jnp.float32(MEAN), "var": jnp.float32(VAR)}
    model_state = {"norms": {**model_state["norms"], 0: stats}}
    frozen = freeze_norms(with_policy(apply, Policy()), "norms/0/*")
    pred, new = call(frozen, params, model_state)
    y, want = both(X)
    np.testing.assert_allclose(pred, want, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(new["norms"][0]["mean"], np.float32(MEAN))
    np.testing.assert_allclose(new["norms"][1]["mean"], y.mean(0) / 2, rtol=1e-4)
    assert not np.allclose(call(apply, params, model_state)[0], want, atol=0.1)


def test_equinox():
    eqx = pytest.importorskip("equinox", reason="it is in the extra `test`")
    from gradtx.loop import from_equinox

    class Net(eqx.Module):
        body: eqx.nn.BatchNorm
        head: eqx.nn.BatchNorm

        def __init__(self):
            self.body = eqx.nn.BatchNorm(3, "batch", momentum=0.5, mode="batch")
            self.head = eqx.nn.BatchNorm(3, "batch", momentum=0.5, mode="batch")

        def __call__(self, x, state):
            y, state = self.body(x, state)
            return self.head(jnp.tanh(y), state)

    model, state = eqx.nn.make_with_state(Net)()
    body = lambda state: state.get(model.body.batch_state_index)
    state = state.set(model.body.batch_state_index, (jnp.float32(MEAN), jnp.float32(VAR)))
    apply, params, model_state = from_equinox(model, state)
    frozen = freeze_norms(apply, lambda params: jax.tree.map(lambda _: True, params))
    pred, new = frozen(params, model_state, BATCH, key=KEY, training=True)
    np.testing.assert_array_equal(body(new)[0], np.float32(MEAN))
    frozen = freeze_norms(apply, "body/*")
    pred, new = frozen(params, model_state, BATCH, key=KEY, training=True)
    y, want = both(X)
    np.testing.assert_allclose(pred, want, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(body(new)[1], np.float32(VAR))
    np.testing.assert_allclose(new.get(model.head.batch_state_index)[0], y.mean(0) / 2, rtol=1e-4)


def test_fine_tune_moves_the_statistics_of_frozen_norms_or_keeps_them():
    """fastai's train_bn=False without and with BnFreeze; the first part alone."""
    groups = gradtx.label_by(body="body/*", head="head/*")
    apply, params, model_state = linen(ByField())
    sums = lambda *a, **k: (lambda pred, new: (pred.sum(-1), new))(*apply(*a, **k))
    squares = lambda pred, batch: jnp.square(pred - batch["label"])
    stop = Hook("stop", {"after_epoch": lambda s, m: (s, m.request(Request.END_FIT))})
    tx = gradtx.adam(gradtx.by_group(groups, body=0.1, head=0.1))
    loop = Loop(sums, squares, tx, hooks=[stop])
    state = loop.init(params, model_state)
    how = {"groups": groups, "epochs": 1, "never_frozen": None}
    body = lambda state: np.asarray(state.model_state["batch_stats"]["body"]["mean"])
    moved, _ = fine_tune(loop, state, [BATCH], **how)
    np.testing.assert_allclose(body(moved), (MEAN + X.mean(0)) / 2, rtol=1e-5)
    kept, _ = fine_tune(loop, state, [BATCH], **how, freeze_norms=True)
    np.testing.assert_array_equal(body(kept), np.float32(MEAN))
    np.testing.assert_array_equal(kept.params["body"]["scale"], 1)
    assert np.all(np.asarray(kept.params["head"]["scale"]) != 1)
    y = both(X)[0]
    head = kept.model_state["batch_stats"]["head"]
    np.testing.assert_allclose(head["mean"], y.mean(0) / 2, rtol=1e-4)
    with pytest.raises(ValueError, match="pass never_frozen=None, too, or norms are not frozen"):
        fine_tune(loop, state, [BATCH], groups=groups, epochs=1, freeze_norms=True)
