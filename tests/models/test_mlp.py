"""The dense network against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.models import MLP

IMAGES = np.random.default_rng(0).standard_normal((4, 3, 5, 2)).astype(np.float32)


def initial(model):
    return model.init(jax.random.key(0), jnp.asarray(IMAGES), train=False)


@pytest.mark.parametrize("features", [(), (6,), (6, 7)])
@pytest.mark.parametrize("train", [False, True])
def test_the_logits_are_those_of_float64(features, train):
    model = MLP(num_classes=3, features=features)
    variables = initial(model)
    shift = lambda x: x + 0.1  # biases that are not 0
    variables = jax.tree.map(shift, variables)
    h = IMAGES.reshape(4, 30).astype(np.float64)
    *hidden, head = [
        {k: np.asarray(v, np.float64) for k, v in variables["params"][name].items()}
        for name in (*(f"dense{i + 1}" for i in range(len(features))), "head")
    ]
    for layer in hidden:
        h = np.maximum(h @ layer["kernel"] + layer["bias"], 0)
    want = h @ head["kernel"] + head["bias"]
    got = model.apply(variables, jnp.asarray(IMAGES), train=train)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_parameters_stay_float32_in_half_precision():
    model = MLP(num_classes=3, dtype=jnp.bfloat16)
    variables = initial(model)
    assert list(variables) == ["params"]
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert variables["params"]["dense1"]["kernel"].shape == (30, 128)
    assert model.apply(variables, jnp.asarray(IMAGES), train=True).dtype == jnp.bfloat16
