"""The strategies draw what they say, and shrink to little."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

import gradtx
from gradtx.loop import compose
from gradtx.testing import strategies as ours
from gradtx.testing.run import to_float64


@given(ours.structures().flatmap(lambda s: st.tuples(st.just(s), ours.values(s))))
def test_values_fit_the_structure(pair):
    structure, tree = pair
    assert jax.tree.structure(structure) == jax.tree.structure(tree)
    for spec, leaf in zip(jax.tree.leaves(structure), jax.tree.leaves(tree), strict=True):
        assert (leaf.shape, leaf.dtype) == (spec.shape, spec.dtype)
        assert np.all(np.abs(to_float64(leaf)) <= 16)


@pytest.mark.parametrize(
    ("what", "options"),
    [
        (lambda t: t is None or any(x is None for x in jax.tree.leaves(t, is_leaf=_none)), {}),
        (lambda t: any(isinstance(x, ours.Layer) for x in [t]), {}),
        (lambda t: any(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(t)), {}),
        (lambda t: any(x.size == 0 for x in jax.tree.leaves(t)), {"zero_size": True}),
        (lambda t: t == {}, {}),
        (lambda t: len({x.dtype for x in jax.tree.leaves(t)}) == 3, {}),
    ],
)
def test_every_kind_of_tree_is_drawn(what, options):
    find(ours.structures(**options), what)


def _none(x):
    return x is None


def test_trees_shrink_to_one_leaf_and_numbers_to_one():
    small = find(ours.parameters(none=False), lambda t: len(jax.tree.leaves(t)) > 0)
    assert jax.tree.leaves(small)[0].shape == (3,) and jnp.all(small == 1)


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("zero", lambda x: (x == 0).all()),
        ("huge", lambda x: (np.abs(x) >= 1e14).all()),
        ("subnormal", lambda x: (np.abs(x) < 1.2e-38).all()),
    ],
)
def test_kinds_of_gradients(kind, holds):
    @given(ours.gradients({"w": jnp.zeros(4)}, kind=kind))
    def check(grads):
        assert holds(np.asarray(grads["w"], np.float64))

    check()


def test_nonfinite_gradients_and_unknown_kinds():
    find(ours.gradients(jnp.zeros(2), kind="nonfinite"), lambda g: bool(jnp.isnan(g).any()))
    with pytest.raises(ValueError, match=r"`kind` must be one of moderate, .*; got 'odd'"):
        ours.gradients(jnp.zeros(2), kind="odd")


@given(ours.hyperparameters(gradtx.UNIT))
def test_hyperparameters_lie_in_their_interval(value):
    assert 0 <= value < 1
    gradtx.scale_by_momentum(value)


@given(ours.schedules(), st.integers(0, 40))
def test_schedules_keep_within_their_bounds(schedule, count):
    assert 0.0156 <= float(schedule(jnp.int32(count))) <= 1.0001


@given(ours.chains())
def test_chains_update(tx):
    params = {"w": jnp.ones(2)}
    updates, _ = tx.update(params, tx.init(params), params)
    assert np.isfinite(np.asarray(updates["w"])).all()


@given(ours.hook_lists())
def test_hook_lists_have_an_order(hooks):
    order = [hook.name for hook in compose(hooks)]
    for hook in hooks:
        for other in hook.run_after:
            if other in order:
                assert order.index(other) < order.index(hook.name)


@given(ours.event_scripts(steps=2))
def test_event_scripts(script):
    for event, step, request in script:
        assert event in ours.ASKING and step in (0, 1) and request > 0
