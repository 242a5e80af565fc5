"""The same model of linen and nnx is trained alike by the same loop."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gradtx
from gradtx.loop import (
    Loop,
    accuracy,
    cross_entropy,
    fit,
    from_function,
    from_linen,
    from_nnx,
    nnx_module,
)
from tests.loop.frameworks import LinenNet, NnxNet

RNG = np.random.default_rng(0)
BATCHES = [
    {
        "image": RNG.standard_normal((8, 6, 6, 3)).astype(np.float32),
        "label": RNG.integers(0, 3, 8).astype(np.int32),
    }
    for _ in range(5)
]
KEY = jax.random.key(3)
X = BATCHES[0]["image"][:, 0, 0]  # float32[8, 3]


@pytest.fixture(scope="module")
def linen_start():
    variables = dict(LinenNet().init(jax.random.key(0), BATCHES[0]["image"], train=False))
    return variables.pop("params"), variables


def losses(apply, params, model_state):
    metrics = {"accuracy": accuracy}
    loop = Loop(apply, cross_entropy, gradtx.adamw(0.01), metrics)
    state, history = fit(loop, loop.init(params, model_state), BATCHES, BATCHES[:1], epochs=2)
    return state, history.steps["loss"], history.rows[-1]


@pytest.fixture(scope="module")
def of_linen(linen_start):
    return losses(from_linen(LinenNet()), *linen_start)


def test_nnx_is_trained_as_linen(linen_start, of_linen):
    model = NnxNet(nnx.Rngs(0))
    apply, params, model_state = from_nnx(model)
    assert jax.tree.structure(params) == jax.tree.structure(linen_start[0])
    state, steps, row = losses(apply, linen_start[0], model_state)
    np.testing.assert_allclose(steps, of_linen[1], rtol=1e-4)
    np.testing.assert_allclose(row["valid_loss"], of_linen[2]["valid_loss"], rtol=1e-4)
    # The module given is as it was, in its own mode; a copy has what was trained.
    np.testing.assert_array_equal(model.conv0.kernel[...], params["conv0"]["kernel"])
    trained = nnx_module(model, state.params, state.model_state)
    trained.eval()
    pred = apply(state.params, state.model_state, BATCHES[0], key=KEY, training=False)[0]
    np.testing.assert_allclose(trained(BATCHES[0]["image"]), pred, rtol=1e-5, atol=1e-6)


class Dropped(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.drop, self.linear = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, image):
        self.seen = nnx.Intermediate(image)
        return self.linear(self.drop(image))


class DroppedLinen(linen.Module):
    @linen.compact
    def __call__(self, x, deterministic):
        return linen.Dropout(0.5)(x, deterministic=deterministic)


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_randomness_comes_from_the_key_and_is_only_in_training(framework):
    if framework == "nnx":
        apply, params, rest = from_nnx(Dropped())
        assert rest == {}
    else:
        apply, params, rest = from_linen(DroppedLinen()), {}, {}
    run = lambda key, training: jax.jit(apply, static_argnames="training")(
        params, rest, {"image": X}, key=key, training=training
    )[0]
    np.testing.assert_array_equal(run(KEY, True), run(KEY, True))
    assert not np.array_equal(run(KEY, True), run(jax.random.key(4), True))
    np.testing.assert_array_equal(run(KEY, False), run(jax.random.key(4), False))


def test_of_an_output_with_logits_these_are_the_prediction():
    class Logits(linen.Module):
        @linen.compact
        def __call__(self, pixels, deterministic=True):
            return SimpleNamespace(logits=linen.Dense(2)(pixels))

    params = Logits().init(KEY, X)["params"]
    apply = from_linen(Logits(), inputs="pixels")
    pred = apply(params, {}, {"pixels": X}, key=KEY, training=True)[0]
    np.testing.assert_allclose(pred, X @ params["Dense_0"]["kernel"], rtol=1e-5)


class Two(linen.Module):
    @linen.compact
    def __call__(self, a, b):
        return linen.Dense(2)(a - b)


def test_a_chain_of_layers_is_told_what_its_first_layer_takes():
    x = jnp.ones((2, 3))
    for model in (
        linen.Sequential([linen.Dense(2)]),
        linen.Sequential([linen.Sequential([linen.Dense(2), linen.relu]), linen.Dense(2)]),
        linen.Sequential([linen.Dropout(0.5), linen.Dense(2)]),
    ):
        inputs = (
            {}
            if isinstance(model.layers[0], linen.Sequential | linen.Dense)
            else {"deterministic": True}
        )
        params = model.init(jax.random.key(0), x, **inputs)["params"]
        apply = from_linen(model, inputs="x")
        pred, _ = apply(params, {}, {"x": x}, key=jax.random.key(1), training=False)
        assert pred.shape == (2, 2)


def test_a_module_without_train_and_with_two_inputs():
    params = Two().init(KEY, X, X)["params"]
    for batch, names in (({"b": X, "a": 2 * X}, ("a", "b")), ((X, 0, 2 * X), (2, 0))):
        apply = from_linen(Two(), inputs=names)
        pred, state = apply(params, {}, batch, key=KEY, training=True)
        np.testing.assert_allclose(pred, X @ params["Dense_0"]["kernel"], rtol=1e-5)
        assert state == {}


def hugging_face(
    input_ids, attention_mask=None, params=None, dropout_rng=None, train=False, return_dict=None
):
    """With the arguments of Hugging Face's Flax models."""
    assert (dropout_rng is not None) == train
    return SimpleNamespace(logits=(input_ids * attention_mask[:, None]) @ params["w"])


def test_functions_of_several_forms():
    w, mask = {"w": jnp.ones((3, 2))}, np.zeros(8, np.float32)
    call = lambda apply, batch, training=True: apply(w, {}, batch, key=KEY, training=training)[0]
    apply = from_function(hugging_face, inputs=("input_ids", "attention_mask"))
    batch = {"input_ids": X, "attention_mask": mask}
    assert not call(apply, batch).any() and call(apply, batch, False).shape == (8, 2)
    want = X @ w["w"]
    forms = [
        lambda params, x: x @ params["w"],
        lambda p, x, *, rng: x @ p["w"] if rng is not None else 0,
        lambda p, x, is_training: x @ p["w"] if is_training else 0,
        lambda x, *, params, **options: x @ params["w"],
    ]
    for form in forms:
        np.testing.assert_allclose(call(from_function(form), {"image": X}), want, rtol=1e-6)


class NeedyNnx(nnx.Module):
    def __call__(self, x, mask):
        return x


REFUSED = [
    (lambda: from_nnx(LinenNet()), r"from_nnx: `model` must be a flax\.nnx\.Module; .*from_linen"),
    (lambda: from_nnx(NnxNet), r"from_nnx: `model` must be .* Make the module first: Net\("),
    (lambda: from_nnx(NeedyNnx()), r"from_nnx: `model` must be a function of \(x\); got"),
    (lambda: from_nnx(NeedyNnx(), inputs=("a", "b", "c")), r"function of \(x, x, x\); got"),
    (lambda: nnx_module(3, {}, {}), r"nnx_module: `model` must be a flax\.nnx\.Module; got 3"),
    (lambda: from_function(lambda params: 0), r"from_function: `function` must be a function of"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_no_such_model_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
