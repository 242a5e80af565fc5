"""Runtime hyperparameters: numbers, schedules and traced scalars."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5])}
GRADS = {"w": jnp.array([0.3, 0.1, -0.7])}
NUMBERS = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "weight_decay": 0.2}


def run(tx, n=3, state=None):
    params, state = PARAMS, tx.init(PARAMS) if state is None else state
    update = jax.jit(tx.update)
    for _ in range(n):
        updates, state = update(GRADS, state, params)
        params = gradtx.apply_updates(params, updates)
    return params["w"], state


def test_a_value_set_in_the_state_gives_the_same_bits_as_one_given():
    want, _ = run(gradtx.adamw(**NUMBERS))
    tx = gradtx.adamw(0.5)
    got, _ = run(tx, state=gradtx.set_hyperparams(tx.init(PARAMS), **NUMBERS))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["schedule", "array"])
def test_constant_schedules_and_arrays_give_the_same_bits(kind):
    want, _ = run(gradtx.adamw(**NUMBERS))
    make = (lambda v: lambda count: v) if kind == "schedule" else jnp.float32
    got, _ = run(gradtx.adamw(**{k: make(v) for k, v in NUMBERS.items()}))
    np.testing.assert_array_equal(got, want)


def test_hyperparams_are_those_of_the_last_update():
    tx = gradtx.adamw(lambda count: 1.0 / (count + 1.0), b1=lambda count: 0.1 * count)
    _, state = run(tx, 4)
    got = gradtx.hyperparams(state)
    assert sorted(got) == sorted([*NUMBERS, "eps_root"])
    np.testing.assert_allclose([got["learning_rate"], got["b1"]], [0.25, 0.3], rtol=1e-6)


def test_setting_does_not_recompile():
    traces = []
    tx = gradtx.adamw(0.1)

    @jax.jit
    def step(state, params):
        traces.append(1)
        return tx.update(GRADS, state, params)

    state = tx.init(PARAMS)
    for rate in (0.1, 1, jnp.float32(0.3), np.float64(0.4)):
        state = gradtx.set_hyperparams(state, learning_rate=rate, b1=0.5)
        _, state = step(state, PARAMS)
    assert len(traces) == 1


def test_setting_inside_jit():
    tx = gradtx.sgd(0.1)
    state = jax.jit(lambda s, r: gradtx.set_hyperparams(s, learning_rate=r))(tx.init(PARAMS), 0.5)
    np.testing.assert_allclose(tx.update(GRADS, state)[0]["w"], -0.5 * GRADS["w"])


def test_vmap_over_a_traced_rate_equals_a_loop():
    rates = jnp.array([0.1, 0.2, 0.4])

    def one(rate):
        tx = gradtx.adamw(rate)
        return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]["w"]

    want = [one(float(rate)) for rate in rates]
    np.testing.assert_allclose(jax.vmap(one)(rates), want, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(rates), want, rtol=1e-6)


def test_gradient_of_a_step_by_its_rate_and_momentum():
    def loss(rate, momentum):
        tx = gradtx.sgd(rate, momentum=momentum)
        state = tx.init(PARAMS)
        _, state = tx.update(GRADS, state)
        updates, _ = tx.update(GRADS, state)
        return updates["w"].sum()

    total = float(GRADS["w"].sum())
    got = jax.grad(loss, argnums=(0, 1))(0.1, 0.9)
    np.testing.assert_allclose(got, [-(0.9 + 1) * total, -0.1 * total], rtol=1e-5)


def test_inject_hyperparams_of_optax():
    tx = optax.inject_hyperparams(gradtx.adam)(learning_rate=0.1, b1=0.8)
    with jax.numpy_dtype_promotion("standard"):
        got, state = run(tx)
        state.hyperparams["learning_rate"] = jnp.float32(0.0)
        updates, _ = tx.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(got, run(gradtx.adam(0.1, b1=0.8))[0], rtol=1e-6)
    assert not updates["w"].any()


def test_shared_names_are_qualified():
    tx = gradtx.chain(gradtx.scale_by_adam(), gradtx.scale_by_rms(eps=1e-3), gradtx.scale_by_rms())
    state = tx.init(PARAMS)
    names = gradtx.hyperparams(state)
    assert {"b1", "scale_by_adam.eps", "scale_by_rms[0].eps", "scale_by_rms[1].eps"} <= set(names)
    with pytest.raises(
        ValueError, match=r"`eps` must name one .* got a name that several transforms share"
    ):
        gradtx.set_hyperparams(state, eps=1.0)
    got = gradtx.hyperparams(gradtx.set_hyperparams(state, **{"scale_by_rms[0].eps": 0.5}))
    assert [float(got[f"scale_by_rms[{i}].eps"]) for i in (0, 1)] == [0.5, np.float32(1e-8)]
    both = gradtx.hyperparams(gradtx.set_hyperparams(state, decay=0.25))
    assert [float(both[f"scale_by_rms[{i}].decay"]) for i in (0, 1)] == [0.25, 0.25]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.chain(optax.identity(), tx),
        lambda tx: gradtx.accumulate(tx, 2),
        gradtx.skip_if_not_finite,
        gradtx.master_weights,
        lambda tx: gradtx.masked(tx, "w"),
        lambda tx: {"model": tx},
    ],
)
def test_found_wherever_the_state_is(wrap):
    tx = wrap(gradtx.sgd(0.1))
    state = {"opt": tx["model"].init(PARAMS)} if isinstance(tx, dict) else tx.init(PARAMS)
    state = gradtx.set_hyperparams(state, learning_rate=0.5)
    assert float(gradtx.hyperparams(state)["learning_rate"]) == 0.5


BAD = [
    (lambda: gradtx.adam(0.1, eps=-0.1), ValueError, r"`eps` must be in \[0, inf\); got -0\.1"),
    (lambda: gradtx.adam(0.1, b1=1.0), ValueError, r"`b1` must be in \[0, 1\); got 1"),
    (lambda: gradtx.adam(jnp.float32(jnp.inf)), ValueError, r"`learning_rate` must be in"),
    (lambda: gradtx.adam(float("nan")), ValueError, r"got nan"),
    (lambda: gradtx.adam("0.1"), TypeError, r"must be a number, a schedule or a JAX scalar"),
    (lambda: gradtx.adam(0.1, b1=None), TypeError, r"got NoneType"),
    (lambda: gradtx.adam(True), TypeError, r"got bool"),
    (lambda: gradtx.adam(np.complex64(1j)), TypeError, r"got complex64"),
    (lambda: gradtx.adam(jnp.ones(2)), ValueError, r"must be a scalar; got shape \(2,\)"),
    (lambda: gradtx.adam(0.1, lambda c: -1.0).init(PARAMS), ValueError, r"got -1"),
    (lambda: gradtx.adam(lambda c: jnp.ones(2)).init(PARAMS), ValueError, r"return a scalar"),
    (
        lambda: gradtx.adam(lambda: 1.0),
        TypeError,
        r"^adam: `learning_rate` as a schedule must take .* got <lambda>\(\)\.",
    ),
    (
        lambda: gradtx.adam(0.1, b1=lambda step, more: 1.0),
        TypeError,
        r"^adam: `b1` as a schedule must take one .* got <lambda>\(step, more\)\.",
    ),
    (
        lambda: gradtx.adam(lambda c: "x").init(PARAMS),
        TypeError,
        r"\.init: the schedule of `learning_rate` must return a scalar; got str \('x'\)\. Return",
    ),
    (
        lambda: gradtx.adam(lambda c: None).init(PARAMS),
        TypeError,
        r"the schedule of `learning_rate` must return a scalar; got NoneType",
    ),
]


@pytest.mark.parametrize(("make", "error", "match"), BAD)
def test_bad_values_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


SETTING = [
    (
        gradtx.sgd(0.1),
        {"rate": 1.0},
        r"`rate` must name one .* got a name that is not there\. Use",
    ),
    (gradtx.adam(0.1), {"eps": -1.0}, r"must be in \[0, inf\); got -1"),
    (gradtx.sgd(0.1), {"learning_rate": jnp.ones(2)}, r"must be a scalar"),
    (gradtx.sgd(lambda c: 0.1), {"learning_rate": 1.0}, r"follows a schedule"),
    (gradtx.sgd(jnp.float32(0.1)), {"learning_rate": 1.0}, r"follows an array"),
    (gradtx.identity(), {"x": 1.0}, r"Use one of: \(none\)"),
]


@pytest.mark.parametrize(("tx", "values", "match"), SETTING)
def test_bad_settings_are_refused(tx, values, match):
    with pytest.raises(ValueError, match=match):
        gradtx.set_hyperparams(tx.init(PARAMS), **values)


@pytest.mark.parametrize("value", ["x", None, True, lambda step: 0.1])
def test_a_setting_must_be_a_number(value):
    message = r"^set_hyperparams: `learning_rate` must be a number or a JAX scalar; got "
    with pytest.raises(TypeError, match=message + type(value).__name__):
        gradtx.set_hyperparams(gradtx.sgd(0.1).init(PARAMS), learning_rate=value)


@pytest.mark.parametrize("state", [3, None, {"w": jnp.ones(2)}])
def test_a_state_without_hyperparameters_is_named(state):
    message = rf"^set_hyperparams: `state` must hold a state .* got {type(state).__name__}, which"
    with pytest.raises(ValueError, match=message):
        gradtx.set_hyperparams(state, learning_rate=1)


KINDS = {
    "number": 0.1,
    "schedule": lambda count: 0.1,
    "array": jnp.float32(0.1),
    "groups": gradtx.by_group({"w": "a"}, a=0.1),
    "others": gradtx.by_group({"w": "b"}, b=0.1),
}


@pytest.mark.parametrize("made", KINDS)
@pytest.mark.parametrize("used", KINDS)
def test_a_state_serves_only_hyperparameters_given_as_it_was(made, used):
    state, tx = gradtx.sgd(KINDS[made]).init(PARAMS), gradtx.sgd(KINDS[used])
    if made == used:
        tx.update(GRADS, state)
        return
    with pytest.raises(ValueError, match=r"`learning_rate` is .* here, but `state` was made where"):
        jax.jit(tx.update)(GRADS, state)
