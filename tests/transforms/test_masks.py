"""The `mask` arguments of the aliases, against Optax's."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests.transforms.trajectories import assert_same, gradtx_run, start

KERNELS = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
TREE = {"kernel": True, "scale": False}
CASES = [
    ("adamw", {"weight_decay": 0.1, "mask": KERNELS}),
    ("adamw", {"weight_decay": 0.1, "mask": TREE}),
    ("lamb", {"weight_decay": 0.1, "mask": TREE}),
    ("lion", {"weight_decay": 0.1, "mask": TREE}),
    ("adamaxw", {"weight_decay": 0.1, "mask": TREE}),
    ("adadelta", {"weight_decay": 0.1, "weight_decay_mask": TREE}),
    ("lars", {"weight_decay": 0.1, "weight_decay_mask": TREE, "trust_ratio_mask": TREE}),
]


@pytest.mark.parametrize("name, options", CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_a_mask_is_optaxs(name, options):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        tx = getattr(optax, name)(0.05, **options)
        want, _ = gradtx_run(tx, *start(), apply=optax.apply_updates)
    got, _ = gradtx_run(getattr(gradtx, name)(0.05, **options), *start())
    assert_same(got, want, rtol=1e-9, atol=1e-11)


def test_masked_decay_is_one_live_number():
    tx = gradtx.adamw(1.0, weight_decay=0.1, mask=TREE)
    params = {"kernel": jnp.ones((2, 2)), "scale": jnp.ones(())}
    state = gradtx.set_hyperparams(tx.init(params), weight_decay=0.5)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
    np.testing.assert_allclose(updates["kernel"], -0.5)
    assert float(updates["scale"]) == 0


@pytest.mark.parametrize("by", ["a mask", "a function", "labels", "decay"])
def test_a_dict_masks_frozen_dicts(by):
    params = flax.core.freeze({"a": jnp.ones(2), "b": {"c": jnp.ones(2)}})
    mask = {"a": True, "b": {"c": False}}
    tx = {
        "a mask": lambda: gradtx.masked(gradtx.scale(-1.0), mask),
        "a function": lambda: gradtx.masked(gradtx.scale(-1.0), lambda params: mask),
        "labels": lambda: gradtx.partition(
            {"x": gradtx.scale(-1.0), "y": gradtx.identity()}, {"a": "x", "b": "y"}
        ),
        "decay": lambda: gradtx.add_decayed_weights(-2.0, mask),
    }[by]()
    updates, _ = tx.update(params, tx.init(params), params)
    assert isinstance(updates, flax.core.FrozenDict)
    assert float(updates["a"][0]) == -1 and float(updates["b"]["c"][0]) == 1
