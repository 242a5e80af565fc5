"""The rule that says where a leaf is, meshes, and how batches are split."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import P

import gradtx
from gradtx.hooks import ema_params
from gradtx.parallel.mesh import (
    leaf_spec,
    make_mesh,
    own_rows,
    parse_mesh,
    place_batch,
    place_batches,
    shard_state,
    shardings_of,
    state_shardings,
)
from tests.parallel import problem


def test_axes_have_size_1_unless_named():
    assert parse_mesh("fsdp=2") == {"data": 1, "fsdp": 2}
    mesh = make_mesh({"data": 8})
    assert mesh.axis_names == ("data", "fsdp") and dict(mesh.shape) == {"data": 8, "fsdp": 1}


@pytest.mark.parametrize("text", ["", "data", "data=", "data=0", "data=-2", "data=2,", "data=x"])
def test_a_malformed_mesh_is_an_error(text):
    with pytest.raises(ValueError, match=r"^--mesh must be NAME=SIZE, for example data=4,fsdp=2"):
        parse_mesh(text, "--mesh")


def test_an_axis_is_known_and_named_once():
    with pytest.raises(ValueError, match=r"has the axes data and fsdp; got 'model'\. Use those\."):
        parse_mesh("data=4,model=2")
    with pytest.raises(ValueError, match=r"each axis once .* got 'data=4,data=2'"):
        parse_mesh("data=4,data=2")


def test_the_sizes_multiply_to_the_number_of_devices():
    with pytest.raises(ValueError, match=r"number of devices, 8; got 'data=3,fsdp=2'. Use data=8"):
        make_mesh("data=3,fsdp=2")


@pytest.mark.parametrize(
    "shape, spec",
    [
        ((), P()),
        ((1024,), P("fsdp")),
        ((1022,), P()),  # small
        ((1025,), P()),  # not divisible
        ((40, 64), P(None, "fsdp")),
        ((64, 40), P("fsdp")),
        ((64, 64), P(None, "fsdp")),  # equals: the last
        ((3, 3, 64, 65), P(None, None, "fsdp")),  # the largest is not divisible
    ],
)
def test_the_rule_for_a_leaf(shape, spec):
    assert leaf_spec(shape, make_mesh("data=4,fsdp=2")) == spec
    assert leaf_spec(shape, make_mesh("data=8")) == P()


def where(state, mesh, specs=None):
    """The path of each leaf that is split, with its spec."""
    leaves = jax.tree.leaves_with_path(state_shardings(state, mesh, specs))
    return {jax.tree_util.keystr(path): s.spec for path, s in leaves if s.spec != P()}


TRANSFORMS = {
    "adamw": gradtx.adamw(1e-3),
    "accumulated lamb": gradtx.accumulate(gradtx.lamb(1e-3), 2),
    "muon": gradtx.muon(1e-3),
    "optax": optax.chain(optax.clip(1.0), optax.adamw(1e-3)),
    "masked optax": optax.masked(
        optax.adam(1e-3), {"dense": True, "head": False, "norm": False}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_moments_are_where_their_parameters_are(name):
    loop = problem.make_loop(TRANSFORMS[name], [ema_params()])
    state = jax.eval_shape(lambda: problem.start(loop))
    mesh = make_mesh("data=4,fsdp=2")
    # Not what the rule says: so nothing but its parameter can tell where a moment is.
    specs = jax.tree.map(lambda p: P(), state.params)
    specs["dense"]["kernel"] = P("fsdp")
    found = where(state, mesh, specs)
    assert set(found.values()) == {P("fsdp")}
    assert all("['dense']['kernel']" in path for path in found)
    like_kernel = [
        path for path, x in jax.tree.leaves_with_path(state)
        if x.shape == state.params["dense"]["kernel"].shape
    ]  # fmt: skip
    assert len(found) == len(like_kernel) >= 4  # it, at least one context, two averages


def test_specs_are_one_for_each_parameter():
    state = problem.start(problem.make_loop(gradtx.sgd(0.1)))
    with pytest.raises(ValueError, match=r"each of the 5 parameters; got 1\."):
        state_shardings(state, make_mesh("data=8"), {"dense": {"kernel": P()}})


def test_a_device_holds_its_part():
    state = problem.start(problem.make_loop(gradtx.adamw(0.1)))
    sharded = shard_state(state, make_mesh("fsdp=8"))
    kernel = sharded.params["dense"]["kernel"]
    assert {x.data.shape for x in kernel.addressable_shards} == {
        (problem.FEATURES, problem.WIDTH // 8)
    }
    problem.assert_close(sharded, state, tolerance=0)


def test_shardings_of_a_state_that_is_on_no_mesh():
    assert shardings_of(problem.start(problem.make_loop(gradtx.sgd(0.1)))) is None


def test_a_batch_is_split_over_both_axes():
    mesh = make_mesh("data=4,fsdp=2")
    batch = {"x": np.arange(32.0, dtype=np.float32).reshape(16, 2), "scale": np.float32(3)}
    placed = place_batch(batch, mesh)
    assert {s.data.shape for s in placed["x"].addressable_shards} == {(2, 2)}
    np.testing.assert_array_equal(placed["x"], batch["x"])
    assert placed["scale"].sharding.is_fully_replicated and float(placed["scale"]) == 3


def test_only_arrays_with_a_row_for_each_example_are_split():
    """A graph's edges and numbers are whole on every device; labels, or what is named, count."""
    mesh = make_mesh("data=4,fsdp=2")
    batch = {"edges": np.zeros((9, 2)), "rate": 0.5, "y": np.arange(8.0)}
    split = lambda placed: {k: not x.sharding.is_fully_replicated for k, x in placed.items()}
    want = {"edges": False, "rate": False, "y": True}
    assert split(place_batch(batch, mesh, examples="y")) == want
    (placed,) = place_batches([batch], mesh, examples="y")
    assert split(placed) == want
    labelled = {"label" if k == "y" else k: x for k, x in batch.items()}
    assert split(place_batch(labelled, mesh)) == {"edges": False, "rate": False, "label": True}
    with pytest.raises(ValueError, match=r"place_batches: a batch must say how many examples"):
        place_batch(batch, mesh)
    assert own_rows(batch, examples="y")["edges"].shape == (9, 2)


def test_rows_that_do_not_divide_are_an_error():
    with pytest.raises(ValueError, match=r"multiple of this process's devices, 8; got shape \(12"):
        place_batch({"x": np.zeros((12, 2))}, make_mesh("data=4,fsdp=2"))


def test_placed_batches_are_read_anew_and_closed():
    mesh = make_mesh("data=8")
    batches = place_batches([np.zeros(8), np.ones(8)], mesh)
    assert [float(b[0]) for b in batches] == [float(b[0]) for b in batches] == [0.0, 1.0]

    class Source:
        closed = False

        def __iter__(self):
            return iter([jnp.zeros(8)])

        def close(self):
            self.closed = True

    source = Source()
    asked = []
    placed = place_batches(lambda *at: asked.append(at) or source, mesh)(2, 5)
    assert len(list(placed)) == 1 and asked == [(2, 5)] and not source.closed
    placed.close()
    assert source.closed
