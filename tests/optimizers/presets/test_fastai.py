"""fastai's optimizers (semantics of 2.8) as float64 NumPy loops, from our presets."""

from functools import partial

import numpy as np
import pytest

from gradtx import presets
from tests.transforms import rules
from tests.transforms.trajectories import assert_same, gradtx_run, numpy_run, start

LR = 0.05
FALLING = lambda count: 0.05 * 0.9**count
MOVING = lambda count: 0.95 - 0.01 * count

CASES = {
    "sgd": (presets.fastai_sgd(LR, weight_decay=0.1), partial(rules.sgd, lr=LR, wd=0.1)),
    "sgd momentum": (
        presets.fastai_sgd(FALLING, momentum=MOVING, weight_decay=0.1),
        partial(rules.sgd, lr=FALLING, momentum=MOVING, wd=0.1),
    ),
    "sgd l2": (
        presets.fastai_sgd(LR, momentum=0.9, l2=0.1),
        partial(rules.sgd, lr=LR, momentum=0.9, l2=0.1),
    ),
    "rmsprop": (
        presets.fastai_rmsprop(LR),
        partial(rules.rmsprop, lr=LR, decay=0.99, eps=1e-8, inside=False),
    ),
    "rmsprop momentum": (
        presets.fastai_rmsprop(FALLING, momentum=0.9, decay=0.9, eps=1e-3, weight_decay=0.1),
        partial(
            rules.rmsprop,
            lr=FALLING,
            decay=0.9,
            eps=1e-3,
            inside=False,
            momentum=0.9,
            order="gradients",
            wd=0.1,
        ),
    ),
    "adam": (presets.fastai_adam(LR), partial(rules.adam, lr=LR, b2=0.99, eps=1e-5, wd=0.01)),
    "adam scheduled": (
        presets.fastai_adam(FALLING, b1=MOVING),
        partial(rules.adam, lr=FALLING, b1=MOVING, b2=0.99, eps=1e-5, wd=0.01),
    ),
    "adam l2": (
        presets.fastai_adam(LR, l2=0.1, weight_decay=None),
        partial(rules.adam, lr=LR, b2=0.99, eps=1e-5, l2=0.1),
    ),
    "radam": (
        presets.fastai_radam(LR, weight_decay=0.1),
        partial(rules.adam, lr=LR, b2=0.99, eps=0.0, wd=0.1, rectify=5.0),
    ),
    "qhadam": (
        presets.fastai_qhadam(LR),
        partial(rules.adam, lr=LR, b1=0.999, b2=0.999, nus=(0.7, 1.0)),
    ),
    "larc": (
        presets.fastai_larc(LR, weight_decay=0.1, trust_coefficient=0.5),
        partial(rules.fastai_larc, lr=LR, wd=0.1, coefficient=0.5),
    ),
    "larc plain": (
        presets.fastai_larc(LR, momentum=None, clip=False),
        partial(rules.fastai_larc, lr=LR, momentum=0.0, clip=False),
    ),
    "lamb": (
        presets.fastai_lamb(LR, weight_decay=0.1),
        partial(rules.fastai_lamb, lr=LR, wd=0.1),
    ),
    "ranger": (presets.fastai_ranger(LR), partial(rules.fastai_ranger, lr=LR, wd=0.01)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_preset_has_fastais_numbers(name):
    tx, rule = CASES[name]
    got, _ = gradtx_run(tx, *start())
    assert_same(got, numpy_run(rule, *start()), rtol=1e-12, atol=1e-13)


def test_rmsprops_first_step_is_ten_rates_long():
    """1 / sqrt(1 - 0.99) in every coordinate, whatever the gradient (semantics 3a.2)."""
    params, grads = {"w": np.zeros(3)}, [{"w": np.array([1e3, -1.0, 0.1])}]
    (first,), _ = gradtx_run(presets.fastai_rmsprop(LR), params, grads)
    np.testing.assert_allclose(first["w"], [-10 * LR, 10 * LR, -10 * LR], rtol=1e-5)
