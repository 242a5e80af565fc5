"""The state of a transformation: a lawful pytree that Optax's tools and users read."""

import copy
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.core.runtime_hyperparams import names_with_role

PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
GROUPS = gradtx.label_by(bias="b", rest="*")
STATES = {
    "chain": gradtx.adamw(0.1),
    "part": gradtx.chain(gradtx.scale_by_adam()),
    "schedule": gradtx.sgd(lambda count: 0.1, momentum=0.9),
    "groups": gradtx.sgd(gradtx.by_group(GROUPS, bias=0.1, rest=0.2)),
    "partition": gradtx.partition({"bias": gradtx.sgd(0.1), "rest": gradtx.adam(0.1)}, GROUPS),
    "wrappers": gradtx.accumulate(gradtx.master_weights(gradtx.adam(0.1)), 2),
    "masks": gradtx.chain(
        gradtx.masked(gradtx.sgd(0.1, momentum=0.9), {"w": True, "b": False}),
        gradtx.partition({0: gradtx.sgd(0.5), 1: gradtx.adam(0.1)}, {"w": 0, "b": 1}),
    ),
}


class Wrapped:
    """An object in the place of a leaf."""

    def __init__(self, x):
        self.x = x


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", STATES)
def test_no_leaf_changes_the_structure(name):
    state = STATES[name].init(PARAMS)
    leaves, treedef = jax.tree.flatten(state)
    none = jax.tree.map(lambda x: None, state)
    is_none = lambda x: x is None
    assert jax.tree.structure(none, is_leaf=is_none) == jax.tree.structure(state, is_leaf=is_none)
    back = jax.tree.map(lambda _, x: x, none, state, is_leaf=is_none)
    assert bits(back) == bits(state)
    wrapped = jax.tree.map(Wrapped, state)
    assert jax.tree.structure(wrapped) == treedef
    assert bits(jax.tree.map(lambda x: x.x, wrapped)) == bits(state)
    keyed, keyed_def = jax.tree_util.tree_flatten_with_path(state)
    assert keyed_def == treedef and all(a is b for (_, a), b in zip(keyed, leaves, strict=True))
    assert len({jax.tree_util.keystr(path) for path, _ in keyed}) == len(leaves)
    assert jax.tree.structure(pickle.loads(pickle.dumps(jax.device_get(state)))) == treedef


def test_states_by_label_are_found_by_labels_of_any_kind():
    labels = {"w": True, "b": False}
    tx = gradtx.partition({True: gradtx.sgd(0.5), False: gradtx.adam(0.1)}, labels)
    states = tx.init(PARAMS).inner_states
    assert float(states[True].hyperparams["learning_rate"]) == 0.5
    assert states["False"].hyperparams["learning_rate"] == np.float32(0.1)
    with pytest.raises(KeyError):
        states[2]
    with pytest.raises(ValueError, match=r"^partition: labels must differ as text; got \[1, '1'\]"):
        gradtx.partition({1: gradtx.sgd(0.5), "1": gradtx.adam(0.1)}, {"w": 1, "b": "1"})


def test_vmap_takes_none_for_every_leaf():
    tx = gradtx.adamw(0.1)
    state = tx.init(PARAMS)
    axes = jax.tree.map(lambda _: None, state)
    update = lambda g, s: tx.update(g, s, PARAMS)[0]
    got = jax.vmap(update, in_axes=(0, axes))(jax.tree.map(lambda p: p[None], PARAMS), state)
    want = update(PARAMS, state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-6), got, want)


def test_hyperparameters_are_bare_arrays_by_name():
    state = gradtx.adamw(0.1, b1=0.8).init(PARAMS)
    assert isinstance(state.hyperparams["learning_rate"], jax.Array)
    assert float(state.hyperparams["b1"]) == np.float32(0.8)
    assert state[2].hyperparams.keys() == {"learning_rate"}
    with pytest.raises(TypeError, match=r"^TransformState\.hyperparams: values must be set in a"):
        state.hyperparams["learning_rate"] = 0.5


def test_a_part_of_a_chain_shows_the_chains_count():
    tx = gradtx.adamw(0.1)
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert int(state[0].count) == int(state.count) == 1
    assert state.slots[0].count is None
    adam, *_ = state
    assert set(adam.slots) == {"mu", "nu"} and adam["mu"] is adam.slots["mu"]


def test_optaxs_tree_set_sets_a_hyperparameter():
    tx = gradtx.adamw(0.5)
    state = optax.tree_utils.tree_set(tx.init(PARAMS), learning_rate=0.1, count=jnp.int32(3))
    assert int(state.count) == 3
    got, state = tx.update(PARAMS, state, PARAMS)
    other = gradtx.adamw(0.1)
    begun = optax.tree_utils.tree_set(other.init(PARAMS), count=jnp.int32(3))
    want, _ = other.update(PARAMS, begun, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    clip = gradtx.clip_by_global_norm(5.0)
    small = optax.tree_utils.tree_set(clip.init(PARAMS), max_norm=1.0)
    norm = optax.tree.norm(clip.update(PARAMS, small)[0])
    np.testing.assert_allclose(norm, 1.0, rtol=1e-6)


ROLES = {
    "adamw": (lambda: gradtx.adamw(0.1), ["b1"]),
    "sgd": (lambda: gradtx.sgd(0.1, momentum=0.9), ["momentum"]),
    "plain sgd": (lambda: gradtx.sgd(0.1), []),
    "muon": (lambda: gradtx.muon(0.1), ["beta", "b1"]),
    "signum": (lambda: gradtx.signum(0.1), ["decay"]),
    "rmsprop": (lambda: gradtx.rmsprop(0.1, momentum=0.9), ["momentum"]),
    "by group": (
        lambda: gradtx.sgd(0.1, momentum=gradtx.by_group(GROUPS, bias=0.1, rest=0.9)),
        ["momentum"],
    ),
    "a user's": (
        lambda: gradtx.leafwise(
            "mine", lambda h: lambda g, p: h.mom * g, mom=(0.9, gradtx.MOMENTUM)
        ),
        ["mom"],
    ),
}


@pytest.mark.parametrize("name", ROLES)
def test_which_hyperparameter_is_the_momentum_is_declared(name):
    make, names = ROLES[name]
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    assert sorted(names_with_role(make().init(params), "momentum")) == sorted(names)


def test_little_of_ours_runs_while_an_update_is_traced():
    tx, calls = gradtx.adamw(0.1), []
    state = tx.init(PARAMS)

    def profile(frame, event, arg):
        code = frame.f_code
        # Until Python 3.12 comprehensions are calls too.
        ours = "/gradtx/" in code.co_filename and not code.co_name.endswith("comp>")
        if event == "call" and ours:
            calls.append(code)

    sys.setprofile(profile)
    try:
        jax.make_jaxpr(tx.update)(PARAMS, state, PARAMS)
    finally:
        sys.setprofile(None)
    assert len(calls) <= 130 and len(set(calls)) <= 37


def test_hyperparameters_are_a_pytree_that_is_copied_as_a_dict():
    state = gradtx.adamw(0.1).init(PARAMS)
    values = state.hyperparams
    as_floats = jax.tree.map(float, values)
    assert as_floats == {name: float(x) for name, x in values.items()}
    assert jax.jit(lambda s: s.hyperparams)(state).keys() == values.keys()
    assert copy.deepcopy(values) == pickle.loads(pickle.dumps(jax.device_get(values)))
    for change in (
        lambda: values.update(b1=0.5),
        lambda: values.pop("b1"),
        lambda: values.setdefault("b3", 0.1),
        values.clear,
    ):
        with pytest.raises(TypeError, match="set_hyperparams"):
            change()


@pytest.mark.parametrize("value", [1, np.float64(0.5), jnp.int32(1)])
def test_other_kinds_of_numbers_do_not_change_the_states_dtypes(value):
    tx = gradtx.adamw(0.1)
    state = optax.tree_utils.tree_set(tx.init(PARAMS), learning_rate=value)
    for update in (tx.update, jax.jit(tx.update)):
        _, after = update(PARAMS, state, PARAMS)
        assert after.hyperparams["learning_rate"].dtype == jnp.float32


def test_one_value_in_the_place_of_groups_is_named():
    tx = gradtx.sgd(gradtx.by_group(GROUPS, bias=0.1, rest=0.2))
    state = optax.tree_utils.tree_set(tx.init(PARAMS), learning_rate=0.5)
    with pytest.raises(ValueError, match=r"\.update: `learning_rate` has a value for each group"):
        tx.update(PARAMS, state)
    with pytest.raises(ValueError, match=r"^set_hyperparams: `learning_rate` has a value for each"):
        gradtx.set_hyperparams(state, learning_rate=0.1)


def test_states_are_read_as_what_they_hold():
    state = gradtx.adamw(0.1).init(PARAMS)
    assert [int(part.count) for part in state] == [0, 0, 0]
    assert [int(part.count) for part in state[1:]] == [0, 0]
    adam = state[0]
    assert set(adam) == {"mu", "nu"} and "mu" in adam and "v" not in adam


def test_a_state_of_another_role_keeps_its_own_structure():
    make = lambda domain: gradtx.leafwise("q", lambda h: lambda g, p: h.d * g, d=(0.5, domain))
    state = make(gradtx.UNIT).init(PARAMS)
    _, after = make(gradtx.MOMENTUM).update(PARAMS, state)
    assert jax.tree.structure(after) == jax.tree.structure(state)
