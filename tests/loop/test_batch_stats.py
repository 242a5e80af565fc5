"""Re-estimated running statistics, against means over batches in NumPy and PyTorch's update_bn."""

from functools import partial
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradtx
from gradtx.loop import Loop, Rows, from_linen, from_nnx, reestimate_batch_stats, train_step
from gradtx.transforms import averaged_params, ema_params
from models.norm import BatchNorm

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(22, 3)) * [1, 5, 0.1] + [3, -2, 0]).astype(np.float32)
Y = RNG.normal(size=22).astype(np.float32)
SIZES = (8, 8, 6)  # uneven


def batches(**changes):
    whole = {"image": X, "label": Y} | changes
    cuts = pairwise(np.cumsum((0, *SIZES)))
    return [{k: v[a:b] for k, v in whole.items()} for a, b in cuts]


class Two(nn.Module):
    """The second norm sees what the first makes of the batch."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="first")(x)
        x = nn.Dense(4, name="dense")(x)
        return nn.BatchNorm(use_running_average=not train, momentum=0.99, name="second")(x)[:, 0]


def squares(pred, batch):
    return jnp.square(pred - batch["label"])


def two(tx=None, **parts):
    module = Two()
    variables = dict(module.init(jax.random.key(0), X, train=False))
    loop = Loop(from_linen(module), squares, tx or gradtx.sgd(0.1), **parts)
    return loop, loop.init(variables.pop("params"), variables)


def expected(params, parts, shares):
    """The weighted means of both layers' batch statistics, in float64."""
    stats, kernel = [], np.float64(params["dense"]["kernel"])
    for x in parts:
        x = np.float64(x)
        first = x.mean(0), x.var(0)
        y = (x - first[0]) / np.sqrt(first[1] + 1e-5)
        y = y * np.float64(params["first"]["scale"]) + np.float64(params["first"]["bias"])
        y = y @ kernel + np.float64(params["dense"]["bias"])
        stats.append([*first, y.mean(0), y.var(0)])
    mean = [np.average(each, axis=0, weights=shares) for each in zip(*stats, strict=True)]
    return {"first": {"mean": mean[0], "var": mean[1]}, "second": {"mean": mean[2], "var": mean[3]}}


def assert_close(got, want):
    got = jax.tree.map(np.asarray, dict(got))
    for layer, stats in want.items():
        for name, value in stats.items():
            assert got[layer][name].dtype == np.float32
            np.testing.assert_allclose(got[layer][name], value, rtol=1e-4, atol=1e-5)


def test_statistics_are_the_means_over_the_batches():
    loop, state = two()
    drawn = lambda x: jnp.asarray(RNG.normal(size=x.shape), x.dtype)
    state = state.replace(params=jax.tree.map(drawn, state.params))
    new = reestimate_batch_stats(loop, state, batches())
    parts = np.split(X, np.cumsum(SIZES)[:-1])
    want = expected(state.params, parts, SIZES)
    assert_close(new.model_state["batch_stats"], want)
    # Nothing else moved, and what was there before does not matter.
    rest = lambda s: jax.tree.leaves(s.replace(model_state=None, key=None))
    assert all(np.array_equal(a, b) for a, b in zip(rest(new), rest(state), strict=True))
    far = state.replace(model_state=jax.tree.map(lambda x: x + 1e4, state.model_state))
    again = reestimate_batch_stats(loop, far, lambda epoch: batches(), stats="batch_stats")
    assert_close(again.model_state["batch_stats"], want)


def test_examples_of_weight_0_count_nothing():
    weight = np.ones(22, np.float32)
    weight[[3, 20, 21]] = 0
    loop, state = two()
    new = reestimate_batch_stats(loop, state, batches(weight=weight))
    parts = [x[w > 0] for x, w in zip(*(np.split(v, [8, 16]) for v in (X, weight)), strict=True)]
    want = expected(state.params, parts, [len(x) for x in parts])
    assert_close(new.model_state["batch_stats"], want)
    cuts = np.split(np.arange(22), [8, 16])
    rows = [Rows({"image": X, "label": Y}, jnp.array(i), {"weight": weight[i]}) for i in cuts]
    assert_close(reestimate_batch_stats(loop, state, rows).model_state["batch_stats"], want)


def test_stochastic_weight_averaging():
    """The equal average of the parameters after each step, and statistics that belong to it."""
    equal = lambda count: count / (count + 1.0)
    tx = gradtx.chain(gradtx.sgd(0.05), ema_params(equal))
    loop, state = two(tx, eval_params=averaged_params)
    seen, at, step = [], state, jax.jit(partial(train_step, loop))
    for batch in batches()[:2] * 2:
        at, _ = step(at, batch)
        seen.append(at.params)
    mean = jax.tree.map(lambda *x: np.mean(np.float64(x), 0), *seen)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        loop.evaluated_params(at),
        mean,
    )
    new = reestimate_batch_stats(loop, at, batches())
    parts = np.split(X, np.cumsum(SIZES)[:-1])
    assert_close(new.model_state["batch_stats"], expected(mean, parts, SIZES))
    assert new.params is at.params


def one_layer():
    """The statistics of one norm of the inputs, whatever the framework."""
    parts = np.split(np.float64(X), np.cumsum(SIZES)[:-1])
    average = lambda f: np.average([f(x) for x in parts], axis=0, weights=SIZES)
    return average(lambda x: x.mean(0)), average(lambda x: x.var(0))


def test_flax_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, momentum=0.95, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.drop(self.norm(x))[:, 0]

    apply, *start = from_nnx(Net(nnx.Rngs(0)))
    loop = Loop(apply, squares, gradtx.sgd(0.1))
    new = reestimate_batch_stats(loop, loop.init(*start), batches())
    for name, want in zip(("mean", "var"), one_layer(), strict=True):
        np.testing.assert_allclose(new.model_state["norm"][name], want, rtol=1e-4, atol=1e-5)


def test_equinox():
    eqx = pytest.importorskip("equinox", reason="it is in the extra `test`")
    from gradtx.loop import from_equinox

    class Net(eqx.Module):
        norm: eqx.nn.BatchNorm

        def __init__(self):
            self.norm = eqx.nn.BatchNorm(3, "batch", momentum=0.95, mode="batch")

        def __call__(self, x, state):
            y, state = self.norm(x, state)
            return y[0], state

    model, model_state = eqx.nn.make_with_state(Net)()
    apply, params, model_state = from_equinox(model, model_state)
    loop = Loop(apply, squares, gradtx.sgd(0.0))
    mean, var = one_layer()
    want = ((X - mean) / np.sqrt(var + 1e-5))[:, 0]
    key = jax.random.key(0)
    _, once = apply(params, model_state, {"image": X}, key=key, training=True)
    _, twice = apply(params, once, {"image": X + 1}, key=key, training=True)
    for start in (model_state, twice):  # it divides by 1 - momentum^steps
        new = reestimate_batch_stats(loop, loop.init(params, start), batches())
        got, _ = apply(new.params, new.model_state, {"image": X}, key=new.key, training=False)
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_what_is_no_running_statistic_is_refused_or_left_alone():
    def apply(params, model_state, batch, *, key, training):
        carry = jnp.tanh(model_state["carry"] + batch["image"].mean())
        stats = 0.5 * model_state["batch_stats"] + 0.5 * batch["image"].mean(0)
        return batch["image"] @ params["w"], {"carry": carry, "batch_stats": stats}

    def make(apply, model_state):
        loop = Loop(apply, squares, gradtx.sgd(0.1))
        return loop, loop.init({"w": jnp.zeros(3)}, model_state)

    both = {"carry": jnp.zeros(2), "batch_stats": jnp.zeros(3)}
    loop, state = make(apply, both)
    new = reestimate_batch_stats(loop, state, batches())
    np.testing.assert_allclose(new.model_state["batch_stats"], X.mean(0), rtol=1e-5)
    assert not new.model_state["carry"].any()
    with pytest.raises(ValueError, match=r"constant share of the way to the batch's; carry of"):
        reestimate_batch_stats(
            loop,
            state,
            batches(),
            stats=lambda s: jax.tree.map(bool, {"carry": 1, "batch_stats": 1}),
        )
    with pytest.raises(ValueError, match=r"must have a collection 'stats'; got \['batch_stats', "):
        reestimate_batch_stats(loop, state, batches(), stats="stats")
    with pytest.raises(ValueError, match="must return a bool for each leaf"):
        reestimate_batch_stats(loop, state, batches(), stats=lambda s: [])
    with pytest.raises(TypeError, match="`batches` must be batches, or a function"):
        reestimate_batch_stats(loop, state, 3)
    with pytest.raises(ValueError, match="must have an example that counts; got none"):
        reestimate_batch_stats(loop, state, [])
    plain = lambda p, s, b, *, key, training: (b["image"] @ p["w"], s)
    with pytest.raises(ValueError, match="the model must have running statistics"):
        reestimate_batch_stats(*make(plain, {}), batches())


class Ours(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return BatchNorm(name="norm", momentum=0.9)(x, train=train)[:, 0]


PARTS = np.split(X[:16], 2)


def reestimated():
    """Of the norm of gradtx.models, whose running variance is unbiased, as PyTorch's."""
    variables = dict(Ours().init(jax.random.key(0), X, train=False))
    loop = Loop(from_linen(Ours()), squares, gradtx.sgd(0.1))
    state = loop.init(variables.pop("params"), variables)
    given = [{"image": x, "label": y} for x, y in zip(PARTS, np.split(Y[:16], 2), strict=True)]
    return reestimate_batch_stats(loop, state, given).model_state["batch_stats"]["norm"]


def test_the_variance_is_as_the_layer_keeps_it():
    new, parts = reestimated(), np.float64(PARTS)
    np.testing.assert_allclose(new["mean"], parts.mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new["var"], parts.var(1, ddof=1).mean(0), rtol=1e-5)


@pytest.mark.thorough
def test_update_bn_of_pytorch():
    torch = pytest.importorskip("torch", reason="the reference")
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    torch.optim.swa_utils.update_bn([torch.tensor(x) for x in PARTS], net)
    new = reestimated()
    np.testing.assert_allclose(new["mean"], net[0].running_mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["var"], net[0].running_var, rtol=1e-4, atol=1e-5)
