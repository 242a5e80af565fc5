"""States as plain data and back."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

PARAMS = {"a": jnp.array([1.0, 2.0], jnp.bfloat16), "b": (jnp.ones((2, 3)), None)}
GRADS = jax.tree.map(lambda p: 0.5 * p, PARAMS)
GROUPS = gradtx.by_group(gradtx.label_by(x="a", y="*"), x=0.1, y=lambda count: 0.2)
TRANSFORMS = {
    "adamw": lambda: gradtx.adamw(1e-2, mu_dtype=jnp.bfloat16),
    "groups": lambda: gradtx.sgd(GROUPS, momentum=0.9),
    "partition": lambda: gradtx.partition(
        {"x": gradtx.adam(0.1), "y": gradtx.sgd(0.1)}, {"a": "x", "b": "y"}
    ),
    "accumulate": lambda: gradtx.accumulate(gradtx.adam(0.1), 2),
    "skip": lambda: gradtx.skip_if_not_finite(gradtx.adam(0.1)),
    "master": lambda: gradtx.master_weights(gradtx.adam(0.1)),
    "kahan": lambda: gradtx.chain(gradtx.sgd(0.1), gradtx.kahan_summation()),
    "Optax inside": lambda: gradtx.chain(
        optax.add_noise(0.1, 0.9, jax.random.key(0)), optax.scale(2.0), gradtx.adam(0.1)
    ),
}


def after_two_steps(tx):
    state = tx.init(PARAMS)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(2):
            _, state = tx.update(GRADS, state, PARAMS)
    return state


def plain(data):
    if isinstance(data, dict):
        return all(type(key) is str and plain(value) for key, value in data.items())
    if isinstance(data, np.ndarray):
        return data.dtype.isbuiltin == 1 and data.dtype.kind in "fiub"
    return data is None or type(data) in (int, float, str, bool)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("abstract", [False, True])
def test_round_trip(name, abstract):
    tx = TRANSFORMS[name]()
    state = after_two_steps(tx)
    data = gradtx.to_dict(state)
    assert data["version"] == 1 and plain(data)
    again = gradtx.from_dict(data, jax.eval_shape(tx.init, PARAMS) if abstract else tx.init(PARAMS))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for got, want in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        assert got.dtype == want.dtype
        assert bool(jnp.all(got == want))


def test_arrays_survive_a_file_without_pickle(tmp_path):
    tx = TRANSFORMS["adamw"]()
    state = after_two_steps(tx)
    leaves, treedef = jax.tree.flatten(gradtx.to_dict(state))
    np.savez(tmp_path / "state.npz", *leaves)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        stored = [file[f"arr_{i}"] for i in range(len(leaves))]
    stored = [x.item() if x.dtype.kind == "U" else x for x in stored]
    stored = [int(x) if isinstance(y, int) else x for x, y in zip(stored, leaves, strict=True)]
    again = gradtx.from_dict(treedef.unflatten(stored), tx.init(PARAMS))
    jax.tree.map(np.testing.assert_array_equal, again, state)


def test_a_restored_state_takes_the_sharding_of_its_model():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("x",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    state = gradtx.adam(0.1).init(jax.device_put(jnp.ones(4), sharding))
    again = gradtx.from_dict(gradtx.to_dict(state), state)
    assert again.slots[0].slots["mu"].sharding == sharding


def data_of(name="adamw"):
    return gradtx.to_dict(TRANSFORMS[name]().init(PARAMS))


def like(params=PARAMS, **settings):
    return gradtx.adamw(**{"learning_rate": 1e-2, "mu_dtype": jnp.bfloat16} | settings).init(params)


ERRORS = [
    (lambda: (data_of() | {"version": 2}, like()), r"of version 1 returned; got version 2"),
    (lambda: ({"state": {}}, like()), r"of version 1 returned; got dict"),
    (lambda: (3, like()), r"got int"),
    (lambda: (data_of("groups"), like()), r"state/slots must be a dict of \['0', '1', '2'\]"),
    (lambda: (data_of("skip"), like()), r"state must be a state of chain; got skip_if_not_finite"),
    (lambda: (data_of(), like({"a": PARAMS["a"]})), r"mu must be a dict of \['a'\]; got \['a', 'b"),
    (
        lambda: (data_of(), like({**PARAMS, "a": jnp.ones(3)})),
        r"mu/a must be shape \(3,\); got \(2",
    ),
    (lambda: (data_of(), like(mu_dtype=None)), r"mu/a must be dtype float32; got bfloat16"),
    (
        lambda: (data_of(), like(learning_rate=lambda c: 0.1)),
        r"learning_rate must be a hyperparameter given as schedule; got number",
    ),
]


@pytest.mark.parametrize(("make", "match"), ERRORS)
def test_data_that_does_not_fit_is_named_by_path(make, match):
    with pytest.raises(ValueError, match=match):
        gradtx.from_dict(*make())


def test_leaves_that_are_no_data_are_refused():
    with pytest.raises(TypeError, match="got function at state/f"):
        gradtx.to_dict({"f": plain})
