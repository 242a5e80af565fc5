"""Optimizers of 2024: recorded trajectories of PyTorch's packages, and Optax's where it has one.

tests/golden/record_recent.py has recorded them.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests.transforms.trajectories import assert_same, gradtx_run, start

RECORD = json.loads((Path(__file__).parents[1] / "golden" / "torch_recent.json").read_text())

# The package counts steps from 1, a schedule updates from 0.
SLOWING = lambda t: gradtx.schedules.half_life(0.9, 0.999, 6)(t + 1)
RISING = lambda t: gradtx.schedules.linear(0.0, 5.0, 6)(t + 1)
OURS = {
    "ademamix": gradtx.ademamix(0.01, b2=0.99, b3=0.999),
    "ademamix warm-up decay": gradtx.ademamix(
        0.01, b2=0.99, b3=SLOWING, alpha=RISING, weight_decay=0.1
    ),
    "adopt": gradtx.adopt(0.01),
    "adopt decay": gradtx.adopt(0.01, 0.8, 0.99, use_clipping=False, weight_decay=0.1),
    "soap": gradtx.soap(0.01, 0.9, weight_decay=None, precondition_frequency=3),
    "soap vectors": gradtx.soap(
        0.01,
        0.9,
        0.95,
        1e-3,
        None,
        shampoo_beta=0.8,
        precondition_frequency=2,
        precondition_1d=True,
        correct_bias=False,
    ),
    "soap merged": gradtx.soap(
        0.01, 0.9, weight_decay=None, precondition_frequency=2, max_precond_dim=4, merge_dims=True
    ),
    "soap one side": gradtx.soap(
        0.01, 0.9, weight_decay=None, precondition_frequency=2, max_precond_dim=2
    ),
    "cautious lion": gradtx.cautious(gradtx.lion(0.01, weight_decay=None)),
}


# The package decomposes in float32.
TOLERANCE = dict.fromkeys([name for name in OURS if "soap" in name], 1e-5)


def arrays(tree):
    return {key: np.asarray(x) for key, x in tree.items()}


@pytest.mark.parametrize("name", OURS)
def test_the_recorded_trajectory(name):
    want = [arrays(p) for p in RECORD["cases"][name]["params"]]
    pick = lambda tree: {key: x for key, x in arrays(tree).items() if key in want[0]}
    got, _ = gradtx_run(OURS[name], pick(RECORD["start"]), [pick(g) for g in RECORD["grads"]])
    assert_same(got, want, rtol=TOLERANCE.get(name, 1e-10))


SAME = {
    "ademamix": [
        ((0.05,), {}),
        ((0.05, 0.8, 0.9, 0.99, 2.0, 1e-3, 1e-2, None, 0.1), {}),
        ((0.05,), {"b3": lambda t: 0.9 + 0.001 * t, "alpha": lambda t: 0.1 * t}),
    ],
    "adopt": [
        ((0.05,), {}),
        ((0.05, 0.8, 0.9, 1e-3), {"nesterov": True}),
        ((0.05,), {"use_clipping": False}),
        ((0.05,), {"clip_value_fn": lambda x: 0.5 + x}),
    ],
}


@pytest.mark.parametrize("prefix", ["", "scale_by_"])
@pytest.mark.parametrize("name", SAME)
def test_a_name_of_optaxs_contributions_means_the_same(name, prefix):
    params, grads = start()
    for args, options in SAME[name]:
        # The parts have neither a learning rate nor decay.
        args = args[1:8] if prefix else args
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            tx = getattr(optax.contrib, prefix + name)(*args, **options)
            want, _ = gradtx_run(tx, params, grads, apply=optax.apply_updates)
        got, _ = gradtx_run(getattr(gradtx.contrib, prefix + name)(*args, **options), params, grads)
        assert_same(got, want, rtol=1e-9, atol=1e-11)


def test_states_have_optaxs_fields():
    p = jnp.ones(3)
    mixed, adopted = gradtx.scale_by_ademamix().init(p), gradtx.scale_by_adopt().init(p)
    assert [f for f in optax.contrib.ScaleByAdemamixState._fields if not hasattr(mixed, f)] == []
    assert [f for f in optax.ScaleByAdamState._fields if not hasattr(adopted, f)] == []
    assert isinstance(optax.tree_utils.tree_get(mixed, "m2"), jax.Array)
    assert int(mixed[1]) == int(mixed.count_m2) == 0 and mixed[3].shape == (3,)


@pytest.mark.parametrize(
    ("tx", "size"), [(gradtx.ademamix(0.1), 12), (gradtx.adopt(0.1), 8)], ids=["ademamix", "adopt"]
)
def test_bytes_of_the_state_for_a_parameter(tx, size):
    n = 1000
    state = tx.init(jnp.zeros(n))
    assert sum(x.nbytes for x in jax.tree.leaves(state) if x.ndim) == size * n
