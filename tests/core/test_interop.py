"""gradtx inside Optax, Optax inside gradtx, Flax's train states, other trees, converted states."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import FrozenDict
from flax.training.train_state import TrainState

import gradtx

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.full((2, 2), 0.5)}
GRADS = {"a": jnp.array([0.3, 0.1]), "b": jnp.full((2, 2), -0.2)}


@pytest.fixture(autouse=True)
def standard_promotion():
    """Optax and Flax need it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def run(tx, n=4, params=PARAMS, grads=GRADS, state=None):
    state, update = tx.init(params) if state is None else state, jax.jit(tx.update)
    for _ in range(n):
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def close(a, b):
    # Optax loses digits in 1 - b2^t, absolute ones where parameters cross zero.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


ADAM = {"learning_rate": 0.1, "b1": 0.8}
OUTER = {
    "chain": lambda lib: optax.chain(optax.scale(2.0), lib.adam(**ADAM)),
    "named_chain": lambda lib: optax.named_chain(("x", lib.adam(**ADAM)), ("y", optax.scale(2.0))),
    "masked": lambda lib: optax.masked(lib.adam(**ADAM), {"a": True, "b": False}),
    "partition": lambda lib: optax.partition(
        {"x": lib.adam(**ADAM), "y": lib.sgd(0.1)}, {"a": "x", "b": "y"}
    ),
    "MultiSteps": lambda lib: optax.MultiSteps(lib.adam(**ADAM), 2).gradient_transformation(),
    "inject": lambda lib: optax.inject_hyperparams(lib.adam)(**ADAM),
    "apply_if_finite": lambda lib: optax.apply_if_finite(lib.adam(**ADAM), 3),
}
INNER = {
    "chain": lambda lib: gradtx.chain(optax.clip(0.2), lib.adam(**ADAM)),
    "masked": lambda lib: gradtx.masked(lib.adam(**ADAM), {"a": True, "b": False}),
    "partition": lambda lib: gradtx.partition(
        {"x": lib.adam(**ADAM), "y": lib.sgd(0.1)}, {"a": "x", "b": "y"}
    ),
    "accumulate": lambda lib: gradtx.accumulate(lib.adam(**ADAM), 2),
    "skip": lambda lib: gradtx.skip_if_not_finite(lib.adam(**ADAM)),
}


@pytest.mark.parametrize("name", OUTER)
def test_inside_optax(name):
    close(run(OUTER[name](gradtx))[0], run(OUTER[name](optax))[0])


@pytest.mark.parametrize("name", INNER)
def test_optax_inside(name):
    close(run(INNER[name](optax))[0], run(INNER[name](gradtx))[0])


def test_accumulate_equals_multisteps():
    with_optax = optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation()
    close(run(gradtx.accumulate(gradtx.adam(0.1), 2), 5)[0], run(with_optax, 5)[0])


def test_extra_arguments_reach_the_parts_that_ask():
    def update(updates, state, params=None, *, factor, **extra):
        return jax.tree.map(lambda u: factor * u, updates), state

    ask = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    tx = gradtx.skip_if_not_finite(gradtx.chain(gradtx.sgd(1.0), ask))
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS, factor=2.0, unknown=1)
    close(updates, jax.tree.map(lambda g: -2 * g, GRADS))


def test_tree_map_params_and_tree_get():
    tx = gradtx.adamw(0.1)
    _, state = run(tx)
    assert int(optax.tree_utils.tree_get(state, "count")) == 4
    doubled = optax.tree_map_params(tx, lambda x: 2 * x, state)
    close(
        optax.tree_utils.tree_get(doubled, "mu"),
        jax.tree.map(lambda x: 2 * x, state.slots[0].slots["mu"]),
    )
    specs = optax.tree_map_params(
        tx, lambda _, s: s, state, {"a": "A", "b": "B"}, transform_non_params=lambda _: None
    )
    assert specs.slots[0].slots["nu"] == {"a": "A", "b": "B"}


def test_linen_train_state():
    tx = gradtx.adamw(0.1)
    state = TrainState.create(apply_fn=lambda x: x, params=PARAMS, tx=tx)
    state = jax.jit(lambda s: s.apply_gradients(grads=GRADS))(state)
    close(state.params, run(tx, 1)[0])
    assert int(state.step) == int(state.opt_state.count) == 1


def test_nnx_optimizer():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    groups = gradtx.label_by(free=gradtx.norm_or_bias, rest="*")
    decay = gradtx.by_group(groups, free=0.0, rest=0.5)
    optimizer = nnx.Optimizer(model, gradtx.adamw(0.1, weight_decay=decay), wrt=nnx.Param)
    start = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
    for _ in range(2):
        grads = jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
        optimizer.update(model, grads)
    np.testing.assert_array_equal(model.bias[...], start["bias"][...])
    np.testing.assert_allclose(model.kernel[...], 0.95**2 * start["kernel"][...], rtol=1e-5)


@partial(jax.tree_util.register_dataclass, data_fields=["w", "b"], meta_fields=["activation"])
@dataclass
class Layer:
    """As Equinox has it: None where there's nothing to train, and static fields."""

    w: jax.Array
    b: jax.Array | None
    activation: str = "relu"


TREES = {
    "dataclass": Layer(jnp.ones(2), None),
    "frozen dict": FrozenDict({"layer": {"w": jnp.ones(2)}}),
    "list and tuple": [jnp.ones(2), (jnp.ones(2), None)],
    "bare array": jnp.ones(2),
    "empty": {},
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(
    "make",
    [
        gradtx.adamw,
        lambda r: gradtx.accumulate(gradtx.adamw(r), 2),
        lambda r: gradtx.freeze(gradtx.adamw(r), lambda p: False),
        lambda r: gradtx.master_weights(gradtx.adamw(r)),
    ],
)
def test_other_trees(name, make):
    params = TREES[name]
    tx = make(0.1)
    got, _ = run(tx, 2, params, params)
    assert jax.tree.structure(got) == jax.tree.structure(params)
    for new, old in zip(jax.tree.leaves(got), jax.tree.leaves(params), strict=True):
        assert (new < old).all()


CONVERTED = {
    "adam": (lambda: optax.adam(0.1, b1=0.8), lambda: gradtx.adam(0.1, b1=0.8)),
    "adamw": (lambda: optax.adamw(0.1), lambda: gradtx.adamw(0.1)),
    "momentum": (lambda: optax.sgd(0.1, momentum=0.9), lambda: gradtx.sgd(0.1, momentum=0.9)),
    "rmsprop": (
        lambda: optax.rmsprop(0.1, momentum=0.9),
        lambda: gradtx.rmsprop(0.1, momentum=0.9),
    ),
    "clipped": (
        lambda: optax.chain(optax.clip(0.2), optax.adam(0.1)),
        lambda: gradtx.chain(gradtx.clip(0.2), gradtx.adam(0.1)),
    ),
    "schedule_free": (
        lambda: optax.contrib.schedule_free_adamw(0.1),
        lambda: gradtx.schedule_free_adamw(0.1),
    ),
    # A group may be called as a statistic is; `eps` makes steps that are large enough to compare.
    "partition": (
        lambda: optax.partition(
            {"z": optax.contrib.ademamix(0.1), "x": optax.adadelta(10.0, eps=0.01)},
            {"a": "z", "b": "x"},
        ),
        lambda: gradtx.partition(
            {"z": gradtx.ademamix(0.1), "x": gradtx.adadelta(10.0, eps=0.01)},
            {"a": "z", "b": "x"},
        ),
    ),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_a_run_goes_on_with_the_other_library(name):
    theirs, ours = (make() for make in CONVERTED[name])
    middle, their_state = run(theirs, 3)
    want, their_end = run(theirs, 3, middle, state=their_state)
    state = gradtx.from_optax(their_state, ours.init(PARAMS))
    got, _ = run(ours, 3, middle, state=state)
    close(got, want)
    if name not in ("momentum", "rmsprop"):  # those of Optax have no counter
        assert int(state.count) == 3
    middle, state = run(ours, 3)
    back = gradtx.to_optax(state, theirs.init(PARAMS))
    assert jax.tree.structure(back) == jax.tree.structure(their_end)
    close(run(theirs, 3, middle, state=back)[0], want)


def test_optax_finds_the_average_of_a_run_that_began_here():
    """Its state has the b1 of the factory; ours that of the last update, before any 1."""
    evaluated = optax.contrib.schedule_free_eval_params
    theirs = optax.contrib.schedule_free_sgd(0.1)
    state = gradtx.to_optax(gradtx.schedule_free_sgd(0.1).init(PARAMS), theirs.init(PARAMS))
    got, state = run(theirs, 3, state=state)
    want, wanted = run(theirs, 3)
    close(evaluated(state, got), evaluated(wanted, want))


def test_states_that_cannot_be_converted():
    adam, ours = optax.adam(0.1).init(PARAMS), gradtx.adam(0.1).init(PARAMS)
    with pytest.raises(ValueError, match="the same statistics in the same order"):
        gradtx.from_optax(adam, gradtx.sgd(0.1, momentum=0.9).init(PARAMS))
    with pytest.raises(ValueError, match="to_optax: both states"):
        gradtx.to_optax(ours, optax.sgd(0.1, momentum=0.9).init(PARAMS))
    with pytest.raises(ValueError, match=r"from_optax: .* must match"):
        gradtx.from_optax(optax.adam(0.1).init({"a": PARAMS["a"]}), ours)
    uneven = (adam[0]._replace(count=jnp.int32(3)), optax.ScaleByScheduleState(jnp.int32(4)))
    with pytest.raises(ValueError, match=r"counters of the Optax state must agree; got \[3, 4\]"):
        gradtx.from_optax(uneven, ours)
    assert int(gradtx.from_optax(uneven, ours, count=4).count) == 4
