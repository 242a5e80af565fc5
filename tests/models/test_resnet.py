"""ResNet: sizes, PyTorch's numbers (golden_resnet.npz), dtypes, messages."""

import doctest
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

import gradtx.models.resnet
from gradtx.models import ResNet, resnet18, resnet34, resnet_tiny
from gradtx.models.heads import ConcatHead, PlainHead
from gradtx.models.norm import BatchNorm

LEARNING_RATE = 0.1


@cache
def golden():
    with np.load(Path(__file__).with_name("golden_resnet.npz")) as file:
        return dict(file)


def tree(prefix):
    """The recorded leaves under `prefix` as Flax variables."""
    start = prefix + "/"
    return unflatten_dict(
        {k.removeprefix(start): jnp.asarray(v) for k, v in golden().items() if k.startswith(start)},
        sep="/",
    )


def without_dropout(next_fun, args, kwargs, context):
    return args[0] if isinstance(context.module, nn.Dropout) else next_fun(*args, **kwargs)


NETS = {
    "net": ResNet(stage_sizes=(1, 1), width=8, num_classes=5),
    "head": ConcatHead(num_classes=5, hidden=8),
}


def loss_and_rest(model, params, batch_stats, x, labels, train):
    with nn.intercept_methods(without_dropout):
        variables = {"params": params, "batch_stats": batch_stats}
        logits, new = model.apply(variables, x, train=train, mutable=["batch_stats"])
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits, new["batch_stats"])


@cache
def replay(name):
    """Repeat the recorded training with our model."""
    model, before = NETS[name], tree(f"{name}/before")
    images = jnp.asarray(golden()[f"{name}/x"], jnp.float32) / 32
    labels = jnp.asarray(golden()[f"{name}/labels"], jnp.int32)
    grad = jax.jit(jax.grad(partial(loss_and_rest, model), has_aux=True), static_argnames="train")
    params, stats = before["params"], before["batch_stats"]
    gradients, logits = [], []
    for x, y in zip(images, labels, strict=True):
        gradient, (out, stats) = grad(params, stats, x, y, train=True)
        params = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient)
        gradients.append(gradient)
        logits.append(out)
    after = {"params": params, "batch_stats": stats}
    eval_gradient, (eval_logits, same) = grad(params, stats, images[0], labels[0], train=False)
    assert_trees_close(same, stats, rtol=0, atol=0)
    return {
        "gradient": {"params": gradients[0]},
        "train_logits": jnp.stack(logits),
        "after": after,
        "eval_logits": eval_logits,
        "eval_gradient": {"params": eval_gradient},
    }


def assert_trees_close(got, want, rtol, atol):
    got, want = flatten_dict(got, sep="/"), flatten_dict(want, sep="/")
    assert got.keys() == want.keys()
    for key in want:
        np.testing.assert_allclose(got[key], want[key], rtol=rtol, atol=atol, err_msg=key)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("part", ["gradient", "after", "eval_gradient"])
def test_training_leaves_what_pytorch_leaves(name, part):
    assert_trees_close(replay(name)[part], tree(f"{name}/{part}"), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("part", ["train_logits", "eval_logits"])
def test_logits_are_pytorchs(name, part):
    np.testing.assert_allclose(replay(name)[part], golden()[f"{name}/{part}"], rtol=1e-4, atol=2e-5)


def shapes(model, channels=3):
    init = partial(model.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 28, 28, channels)))


def is_norm(path):
    return path[-1] in ("scale", "bias") and "norm" in path[-2]


@pytest.mark.parametrize(
    ("model", "size", "leaves", "norms"),
    [
        (resnet34(num_classes=10), 21_289_802, 110, 72),
        (resnet34(num_classes=10, head="concat"), 21_817_152, 114, 76),
        (resnet18(num_classes=1000), 11_689_512, 62, 40),
    ],
)
def test_parameter_counts(model, size, leaves, norms):
    params = flatten_dict(shapes(model)["params"])
    assert sum(p.size for p in params.values()) == size
    assert len(params) == leaves
    assert sum(map(is_norm, params)) == norms


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_number_of_channels(channels):
    params = shapes(resnet_tiny(num_classes=4), channels)["params"]
    assert params["stem_conv"]["kernel"].shape == (7, 7, channels, 8)


def test_initial_values_have_the_stated_spread():
    images = jnp.zeros((1, 28, 28, 1))
    model = ResNet(stage_sizes=(1,), width=64, num_classes=1000, head="concat")
    params = jax.jit(partial(model.init, train=False))(jax.random.key(0), images)["params"]
    kernel = params["stage1_block1"]["conv1"]["kernel"]
    np.testing.assert_allclose(kernel.std(), (2 / (9 * 64)) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(params["head"]["dense1"]["kernel"].std(), 0.125, rtol=0.02)
    np.testing.assert_array_equal(params["stem_norm"]["scale"], 1)
    np.testing.assert_array_equal(params["stem_norm"]["bias"], 0)
    np.testing.assert_array_equal(params["head"]["norm1"]["bias"], np.float32(1e-3))

    dense = PlainHead(num_classes=1000)
    params = dense.init(jax.random.key(1), jnp.zeros((1, 2, 2, 64)), train=False)["params"]
    for leaf in params["dense"].values():
        assert 0.12 < leaf.max() <= 0.125 and -0.125 <= leaf.min() < -0.12
        np.testing.assert_allclose(leaf.std(), 0.125 / 3**0.5, rtol=0.05)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("head", ["plain", pytest.param("concat", marks=pytest.mark.thorough)])
def test_dtypes(dtype, head):
    model = resnet_tiny(num_classes=3, head=head, dtype=dtype)
    x = jnp.ones((2, 28, 28, 1), dtype)
    variables = model.init(jax.random.key(0), x, train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    rngs = {"dropout": jax.random.key(1)}
    logits, new = model.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
    assert logits.dtype == dtype and logits.shape == (2, 3)
    assert jax.tree.map(jnp.shape, new["batch_stats"]) == jax.tree.map(
        jnp.shape, variables["batch_stats"]
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(jnp.float32)}


def test_dropout_needs_its_key_and_uses_it():
    model = resnet_tiny(num_classes=3, head="concat")
    x = jax.random.normal(jax.random.key(0), (4, 28, 28, 1))
    variables = model.init(jax.random.key(1), x, train=False)
    train = lambda seed: model.apply(
        variables, x, train=True, rngs={"dropout": jax.random.key(seed)}, mutable=["batch_stats"]
    )[0]
    np.testing.assert_array_equal(train(2), train(2))
    assert not np.allclose(train(2), train(3))


def test_running_variance_is_unbiased():
    x = jax.random.normal(jax.random.key(0), (2, 2, 1, 3))
    norm = BatchNorm(momentum=0.75)
    variables = norm.init(jax.random.key(1), x, train=True)
    _, new = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    want = 0.75 + 0.25 * np.var(np.asarray(x, np.float64), axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(new["batch_stats"]["var"], want, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "shape", "dtype", "error", "match"),
    [
        (partial(resnet_tiny, head="max"), (2, 28, 28, 1), float, ValueError, "`head` is one of"),
        (resnet_tiny, (28, 28, 1), float, ValueError, r"`x` must be \[batch, height, width"),
        (resnet_tiny, (2, 28, 28, 1), jnp.uint8, TypeError, "floating point; got uint8"),
    ],
)
def test_bad_input_is_named(make, shape, dtype, error, match):
    with pytest.raises(error, match=match):
        make(num_classes=3).init(jax.random.key(0), jnp.zeros(shape, dtype), train=False)


def test_one_value_per_channel_has_no_variance():
    norm = BatchNorm()
    x = jnp.ones((1, 4))
    variables = norm.init(jax.random.key(0), x, train=True)
    with pytest.raises(ValueError, match=r"BatchNorm: training needs more than one value"):
        norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(norm.apply(variables, x, train=False), 1, rtol=1e-5)


def test_docstring_examples():
    assert doctest.testmod(gradtx.models.resnet).failed == 0
