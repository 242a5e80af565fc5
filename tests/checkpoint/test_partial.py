"""Restoring what fits into another model: a new head, other names."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.checkpoint import CheckpointError, restore, save

OLD = {
    "params": {
        "backbone": {"dense1": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}},
        "head": {"kernel": jnp.full((3, 10), 2.0)},
    },
    "model_state": {"batch_stats": {"mean": jnp.full(3, 5.0)}},
}


def new(classes=4, **more):
    body = {"dense1": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}, **more}
    params = {"backbone": body, "head": {"kernel": jnp.full((3, classes), -1.0)}}
    return SimpleNamespace(params=params, model_state={"batch_stats": {"mean": jnp.zeros(3)}})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    save(directory, OLD, step=1)
    return directory


def test_a_new_head_stays_and_the_rest_comes_back(saved):
    state = new(extra=jnp.full(2, 7.0))
    found = restore(saved, state, params_only=True, partial=True)
    got = found.state["params"]
    jax.tree.map(
        np.testing.assert_array_equal,
        got["backbone"]["dense1"],
        OLD["params"]["backbone"]["dense1"],
    )
    np.testing.assert_array_equal(got["head"]["kernel"], state.params["head"]["kernel"])
    np.testing.assert_array_equal(got["backbone"]["extra"], [7.0, 7.0])
    np.testing.assert_array_equal(found.state["model_state"]["batch_stats"]["mean"], [5.0] * 3)
    assert found.left == (
        "params/backbone/extra is not in the checkpoint",
        "params/head/kernel is float32[3, 10] in the checkpoint and float32[3, 4] here",
    )
    assert got["head"]["kernel"] is not state.params["head"]["kernel"]  # which may be donated


def test_names_are_changed_by_patterns(saved):
    state = new(10)
    state.params = {"dense1": state.params["backbone"]["dense1"], "top": state.params["head"]}
    names = {"^params/backbone/": "params/", "^params/head/": "params/top/"}
    with pytest.raises(CheckpointError, match="only in the checkpoint"):
        restore(saved, state, params_only=True, rename={"^params/backbone/": "params/"})
    found = restore(saved, state, params_only=True, rename=names)
    np.testing.assert_array_equal(found.state["params"]["top"]["kernel"], np.full((3, 10), 2.0))
    assert found.left == ()
    some = restore(
        saved, state, params_only=True, partial=True, rename={"^params/backbone/": "params/"}
    )
    np.testing.assert_array_equal(some.state["params"]["dense1"]["bias"], np.ones(3))
    assert "params/head/kernel is only in the checkpoint" in some.left


@pytest.mark.parametrize(
    "rename, message",
    [
        ({"backbon/": ""}, r"each pattern of `rename` must fit a name; got 'backbon/'"),
        ({"(": ""}, r"`rename` must have regular expressions; got '\('"),
        ({"^params/.*": "params/x"}, r"must give each leaf a name of its own; got params/x"),
    ],
)
def test_patterns_that_do_not_do_are_refused(saved, rename, message):
    with pytest.raises(CheckpointError, match=message):
        restore(saved, new(), params_only=True, partial=True, rename=rename)


def test_a_shape_alone_can_not_stay(saved):
    form = jax.eval_shape(lambda: vars(new()))
    with pytest.raises(CheckpointError, match=r"`like` must have values for what is not restored"):
        restore(saved, SimpleNamespace(**form), params_only=True, partial=True)
