"""Every optimizer against float64 NumPy loops and against Optax's function of the same name."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests.transforms import rules
from tests.transforms.trajectories import assert_same, gradtx_run, numpy_run, start

RATE = 0.05
FALLING = lambda count: 0.05 * 0.8**count

ORACLES = {
    "sgd": (gradtx.sgd(RATE), partial(rules.sgd, lr=RATE)),
    "sgd schedule": (gradtx.sgd(FALLING), partial(rules.sgd, lr=FALLING)),
    "sgd momentum": (gradtx.sgd(RATE, 0.9), partial(rules.sgd, lr=RATE, momentum=0.9)),
    "sgd nesterov dampened l2": (
        gradtx.sgd(RATE, 0.9, True, dampening=0.3, l2=0.1),
        partial(rules.sgd, lr=RATE, momentum=0.9, dampening=0.3, nesterov=True, l2=0.1),
    ),
    "sgd decay": (
        gradtx.sgd(RATE, 0.8, weight_decay=0.2),
        partial(rules.sgd, lr=RATE, momentum=0.8, wd=0.2),
    ),
    "rmsprop": (gradtx.rmsprop(RATE), partial(rules.rmsprop, lr=RATE, decay=0.9, eps=1e-8)),
    "rmsprop all": (
        gradtx.rmsprop(FALLING, 0.8, 1e-3, 0.5, False, False, 0.7, True, True, weight_decay=0.1),
        partial(
            rules.rmsprop, lr=FALLING, decay=0.8, eps=1e-3, inside=False, debias=True,
            momentum=0.7, nesterov=True, wd=0.1, start=0.5,
        ),
    ),
    "rmsprop centered": (
        gradtx.rmsprop(RATE, 0.9, 1e-4, centered=True, weight_decay=0.1),
        partial(rules.rmsprop, lr=RATE, decay=0.9, eps=1e-4, centered=True, wd=0.1),
    ),
    "adam": (gradtx.adam(RATE), partial(rules.adam, lr=RATE)),
    "adam eps_root l2": (
        gradtx.adam(RATE, 0.8, 0.9, 1e-3, 1e-2, l2=0.1),
        partial(rules.adam, lr=RATE, b1=0.8, b2=0.9, eps=1e-3, eps_root=1e-2, l2=0.1),
    ),
    "adam scheduled b1": (
        gradtx.adam(FALLING, b1=lambda t: 0.95 - 0.01 * t),
        partial(rules.adam, lr=FALLING, b1=lambda t: 0.95 - 0.01 * t),
    ),
    "adamw": (gradtx.adamw(RATE), partial(rules.adam, lr=RATE, wd=1e-4)),
    "nadam": (gradtx.nadam(RATE), partial(rules.adam, lr=RATE, nesterov=True)),
    "nadamw": (
        gradtx.nadamw(RATE, weight_decay=0.1),
        partial(rules.adam, lr=RATE, nesterov=True, wd=0.1),
    ),
    "amsgrad": (
        gradtx.amsgrad(RATE, b2=0.8),
        partial(rules.adam, lr=RATE, b2=0.8, amsgrad="debiased"),
    ),
    "amsgrad paper": (
        gradtx.amsgrad(RATE, b2=0.8, bias_correction_mu=False, bias_correction_nu=False),
        partial(rules.adam, lr=RATE, b2=0.8, amsgrad="plain"),
    ),
    "adamax": (gradtx.adamax(RATE), partial(rules.adam, lr=RATE, infinity=True)),
    "adamaxw": (
        gradtx.adamaxw(RATE, weight_decay=0.1),
        partial(rules.adam, lr=RATE, infinity=True, wd=0.1),
    ),
    "adabelief": (
        gradtx.adabelief(RATE, eps=1e-4, eps_root=1e-6),
        partial(rules.adam, lr=RATE, belief=True, eps=1e-4, eps_root=1e-6),
    ),
    "radam": (gradtx.radam(RATE, b2=0.9), partial(rules.adam, lr=RATE, b2=0.9, rectify=5.0)),
    "radam slow": (gradtx.radam(RATE), partial(rules.adam, lr=RATE, rectify=5.0)),
    "radam decay": (
        gradtx.radam(RATE, b2=0.99, threshold=4.0, weight_decay=0.1),
        partial(rules.adam, lr=RATE, b2=0.99, rectify=4.0, wd=0.1),
    ),
    "qhadam": (
        gradtx.qhadam(RATE, weight_decay=0.1),
        partial(rules.adam, lr=RATE, b1=0.999, b2=0.999, nus=(0.7, 1.0), wd=0.1),
    ),
    "qhadam both": (
        gradtx.qhadam(RATE, b1=0.9, nu1=0.6, nu2=0.4),
        partial(rules.adam, lr=RATE, nus=(0.6, 0.4)),
    ),
    "lion": (gradtx.lion(RATE), partial(rules.lion, lr=RATE, b1=0.9, b2=0.99, wd=1e-3)),
    "ademamix": (gradtx.ademamix(RATE), partial(rules.ademamix, lr=RATE)),
    "ademamix all": (
        gradtx.ademamix(
            FALLING, 0.8, 0.9, lambda t: 0.9 + 0.005 * t, lambda t: 0.5 * t, 1e-3, 1e-2,
            weight_decay=0.1,
        ),
        partial(
            rules.ademamix, lr=FALLING, b1=0.8, b2=0.9, b3=lambda t: 0.9 + 0.005 * t,
            alpha=lambda t: 0.5 * t, eps=1e-3, eps_root=1e-2, wd=0.1,
        ),
    ),
    "adopt": (gradtx.adopt(RATE), partial(rules.adopt, lr=RATE)),
    "adopt unclipped nesterov": (
        gradtx.adopt(FALLING, 0.8, 0.9, 1e-2, nesterov=True, use_clipping=False, weight_decay=0.1),
        partial(
            rules.adopt, lr=FALLING, b1=0.8, b2=0.9, eps=1e-2, nesterov=True,
            clip=lambda t: np.inf, wd=0.1,
        ),
    ),
    "adopt with bounds of its own": (
        gradtx.adopt(RATE, b2=0.9, clip_value_fn=lambda x: 0.1 + 0.1 * x),
        partial(rules.adopt, lr=RATE, b2=0.9, clip=lambda t: 0.1 + 0.1 * t),
    ),
    "cautious": (
        gradtx.cautious(gradtx.sgd(RATE, 0.9)),
        partial(rules.cautious_momentum, lr=RATE, beta=0.9, xi=1.0),
    ),
    "adagrad": (gradtx.adagrad(RATE), partial(rules.adagrad, lr=RATE, start=0.1, eps=1e-7)),
    "adadelta": (
        gradtx.adadelta(1.0, weight_decay=0.1),
        partial(rules.adadelta, lr=1.0, rho=0.9, eps=1e-6, l2=0.1),
    ),
    "sign_sgd": (gradtx.sign_sgd(RATE), partial(rules.signum, lr=RATE, beta=0.0)),
    "signum": (gradtx.signum(RATE), partial(rules.signum, lr=RATE, beta=0.9)),
    "lamb": (gradtx.lamb(RATE, weight_decay=0.1), partial(rules.lamb, lr=RATE, wd=0.1)),
    "lamb bounded": (
        gradtx.lamb(RATE, max_ratio=0.5),
        partial(rules.lamb, lr=RATE, bound=0.5),
    ),
    "lars": (
        gradtx.lars(FALLING, 0.1, nesterov=True, trust_coefficient=0.1),
        partial(rules.lars, lr=FALLING, l2=0.1, nesterov=True, coefficient=0.1),
    ),
    "larc": (
        gradtx.larc(RATE, weight_decay=0.1, trust_coefficient=0.5),
        partial(rules.larc, lr=RATE, wd=0.1, coefficient=0.5),
    ),
    "larc unbounded": (
        gradtx.larc(RATE, clip=False, trust_coefficient=3.0),
        partial(rules.larc, lr=RATE, clip=False, coefficient=3.0),
    ),
    "lookahead": (
        gradtx.lookahead(gradtx.sgd(RATE), 3, 0.4),
        partial(rules.lookahead, lr=RATE, period=3, alpha=0.4),
    ),
    "schedule_free_sgd": (
        gradtx.schedule_free_sgd(RATE, weight_decay=0.1),
        partial(rules.schedule_free, lr=RATE, wd=0.1),
    ),
    "schedule_free_sgd warm-up": (
        gradtx.schedule_free_sgd(RATE, 4),
        partial(rules.schedule_free, lr=lambda t: RATE * min(t / 4, 1)),
    ),
    "schedule_free_adamw": (
        gradtx.schedule_free_adamw(RATE, weight_decay=0.1),
        partial(rules.schedule_free, lr=RATE, wd=0.1, b2=0.999),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORACLES)
def test_an_optimizer_is_its_formula_in_float64(name):
    tx, rule = ORACLES[name]
    got, _ = gradtx_run(tx, *start())
    assert_same(got, numpy_run(rule, *start()), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["adam", "radam slow", "rmsprop", "schedule_free_adamw", "lamb"])
def test_an_optimizer_is_its_formula_in_float32(name):
    tx, rule = ORACLES[name]
    got, _ = gradtx_run(tx, *start(), dtype=jnp.float32, jit=True)
    assert_same(got, numpy_run(rule, *start()), rtol=3e-5, atol=3e-6)


def schedule(count):
    return jnp.asarray(0.05) * jnp.asarray(0.8) ** count.astype(jnp.result_type(float))


SAME = {
    "sgd": [(RATE,), (RATE, 0.9), (schedule, 0.9, True)],
    "rmsprop": [
        (RATE,), (schedule, 0.8, 1e-3, 0.5, False, False, 0.7, True, True),
        (RATE, 0.9, 1e-4, 0.0, True, True),
    ],
    "adam": [(RATE,), (schedule, 0.8, 0.9, 1e-3, 1e-2)],
    "adamw": [(RATE,), (schedule, 0.9, 0.99, 1e-6, 0.0, None, 0.1)],
    "nadam": [(RATE,)],
    "nadamw": [(RATE,)],
    "amsgrad": [(RATE, 0.9, 0.8)],
    "adamax": [(RATE,)],
    "adamaxw": [(RATE,)],
    "adabelief": [(RATE,), (RATE, 0.9, 0.99, 1e-5, 1e-6)],
    "radam": [(RATE,), (RATE, 0.9, 0.9)],
    "lion": [(RATE,)],
    "adagrad": [(RATE,)],
    "adadelta": [(1.0, 0.8, 1e-5, 0.1), ()],
    "sign_sgd": [(RATE,)],
    "signum": [(RATE,)],
    "lamb": [(RATE,), (RATE, 0.9, 0.99, 1e-6, 0.0, 0.1)],
    "lars": [(schedule, 0.1, True, 0.1)],
    "clip": [(0.5,)],
    "clip_by_global_norm": [(1.0,), (1e6,)],
    "clip_by_block_rms": [(0.3,)],
    "adaptive_grad_clip": [(0.1,)],
    "centralize": [()],
    "scale": [(-0.3,)],
    "scale_by_schedule": [(schedule,)],
    "scale_by_learning_rate": [(RATE,), (schedule,)],
    "scale_by_sign": [()],
    "scale_by_rms": [(), (0.8, 1e-3, 0.1, False, True)],
    "scale_by_stddev": [(0.8, 1e-3, 0.1)],
    "scale_by_rss": [()],
    "scale_by_adam": [()],
    "scale_by_amsgrad": [()],
    "scale_by_adamax": [()],
    "scale_by_belief": [()],
    "scale_by_radam": [()],
    "scale_by_lion": [()],
    "scale_by_adadelta": [()],
    "scale_by_trust_ratio": [(), (0.5, 0.1, 0.2)],
    "trace": [(0.9,), (0.9, True)],
    "ema": [(0.9,), (0.9, False)],
    "add_decayed_weights": [(0.1,)],
    "identity": [()],
}  # fmt: skip
CASES = [(name, arguments) for name, many in SAME.items() for arguments in many]


@pytest.mark.parametrize(
    "name, arguments", CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)]
)
def test_a_name_that_optax_has_too_means_the_same(name, arguments):
    params, grads = start()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        tx = getattr(optax, name)(*arguments)
        want, _ = gradtx_run(tx, params, grads, apply=optax.apply_updates)
    got, _ = gradtx_run(getattr(gradtx, name)(*arguments), params, grads)
    assert_same(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "plain"), [("nadam", "adam"), ("nadamw", "adamw")])
def test_nadam_is_adam_with_nesterov_in_all_its_arguments(name, plain):
    """The same parameters in the same order, each of which reaches the function behind it."""
    given, usual = (inspect.signature(getattr(gradtx, n)).parameters for n in (name, plain))
    assert getattr(gradtx, name).__name__ == name
    assert list(given) == list(usual)
    assert {k: p.default for k, p in given.items() if p.default != usual[k].default} == {
        "nesterov": True
    }
    values = {
        "learning_rate": 0.1, "b1": 0.8, "b2": 0.7, "eps": 1e-3, "eps_root": 1e-2,
        "mu_dtype": jnp.bfloat16, "weight_decay": 0.3, "mask": {"a": True, "b": False},
        "nesterov": False, "l2": 0.2, "nu_dtype": jnp.float16,
    }  # fmt: skip
    options = {key: values[key] for key in usual}
    params = {"a": jnp.ones(2), "b": jnp.full(3, -2.0)}

    def step(factory):
        tx = factory(**options)
        return tx.update(params, tx.init(params), params)

    got, want = step(getattr(gradtx, name)), step(getattr(gradtx, plain))
    jax.tree.map(np.testing.assert_array_equal, got, want)
    dtypes = lambda tree: [x.dtype for x in jax.tree.leaves(tree)]
    assert dtypes(got) == dtypes(want)
