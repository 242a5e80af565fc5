"""PyTorch's trajectories, recorded by tests/golden/record_torch.py, from ours."""

import json
from pathlib import Path

import numpy as np
import pytest

import gradtx
from gradtx import presets
from tests.transforms.trajectories import assert_same, gradtx_run

RECORD = json.loads((Path(__file__).parents[2] / "golden" / "torch_optimizers.json").read_text())

OURS = {
    "sgd": gradtx.sgd(0.1),
    "sgd momentum": gradtx.sgd(0.1, 0.9),
    "sgd nesterov l2": gradtx.sgd(0.1, 0.9, True, l2=0.1),
    "sgd dampening l2": presets.torch_sgd(0.1, momentum=0.9, dampening=0.4, l2=0.1),
    "rmsprop": presets.torch_rmsprop(0.01),
    "rmsprop momentum": presets.torch_rmsprop(0.01, decay=0.9, momentum=0.8, l2=0.1),
    "rmsprop centered": presets.torch_rmsprop(0.01, centered=True, momentum=0.5),
    "adam": gradtx.adam(0.01),
    "adam l2": gradtx.adam(0.01, 0.8, 0.95, 1e-4, l2=0.1),
    "adamw": gradtx.adamw(0.01, weight_decay=0.01),
    "adamw decay": gradtx.adamw(0.01, 0.9, 0.99, 1e-5, weight_decay=0.3),
    "radam": gradtx.radam(0.01, 0.9, 0.9, 1e-12),
    "radam slow": gradtx.radam(0.01, eps=1e-12),
    "adagrad": presets.torch_adagrad(0.1),
    "adagrad start": presets.torch_adagrad(0.1, initial_accumulator_value=0.5, l2=0.1),
    "adadelta": gradtx.adadelta(1.0),
    "adamax": gradtx.adamax(0.01),
}

# RAdam's eps, which PyTorch puts elsewhere, is close to 0 in the record.
TOLERANCE = {"radam": 1e-7, "radam slow": 1e-7}


def arrays(tree):
    return {key: np.asarray(x) for key, x in tree.items()}


def test_without_momentum_there_is_no_dampening():
    """PyTorch keeps no buffer then, so each step is the plain one."""
    grads = [{"w": np.ones(2)}] * 3
    got, _ = gradtx_run(presets.torch_sgd(1.0, dampening=0.4), {"w": np.zeros(2)}, grads)
    assert_same(got, [{"w": np.full(2, -i)} for i in (1.0, 2.0, 3.0)], rtol=1e-12)


@pytest.mark.parametrize("name", RECORD["cases"])
def test_pytorchs_trajectory(name):
    want = [arrays(p) for p in RECORD["cases"][name]["params"]]
    grads = [arrays(g) for g in RECORD["grads"]]
    got, _ = gradtx_run(OURS[name], arrays(RECORD["start"]), grads)
    assert_same(got, want, rtol=TOLERANCE.get(name, 1e-12))
