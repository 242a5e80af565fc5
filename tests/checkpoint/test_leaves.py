"""Every kind of leaf, key and tree: saved and restored as it is, or refused by name."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from gradtx.checkpoint import CheckpointError, clean, entries, restore, save
from gradtx.checkpoint.layout import remove

FLOATS = "bfloat16 float8_e4m3fn float8_e5m2 float8_e3m4 float8_e8m0fnu float4_e2m1fn".split()
PLAIN = "bool int8 uint16 int64 uint64 float16 float32 float64 complex64 complex128".split()


class Pair(NamedTuple):
    """A container with names of its own."""

    first: object
    second: object


def every_kind():
    small = {name: np.ones(3, getattr(ml_dtypes, name)) for name in [*FLOATS, "int4", "int2"]}
    keys = jax.random.split(jax.random.key(1), 3)
    rng = np.random.default_rng(0)
    return {
        "numpy": {name: rng.integers(0, 2, (2, 3)).astype(name) for name in PLAIN},
        "small": small,
        "jax": {name: jnp.asarray(x) for name, x in small.items()},
        "scalars": {name: np.dtype(name).type(1) for name in PLAIN},
        "big-endian": {name: np.arange(3).astype(f">{name}") for name in ("f4", "i2", "c8", "f8")},
        "a big-endian number": np.array(3, ">i8"),
        "keys": [keys, keys[0], keys[:0], jax.random.key(1, impl="rbg"), jax.random.PRNGKey(1)],
        "without elements": [jnp.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0, ">f4")],
        "in another order": [np.arange(12.0).reshape(3, 4).T, np.arange(9)[::-2]],
        "constant": np.broadcast_to(np.float32(1), (4, 4)),
        "bits": np.uint32([0x7FC00001, 0xFFC00000, 0x80000000]).view(np.float32),
        "nothing": {"a": None, "b": {}, "c": [], "d": ()},
        "pair": Pair(jnp.ones(2), {1: np.ones(1), 2: np.zeros(1)}),
        "/a.b/..": {"": np.ones(1), "größe→🎉": np.ones(1), "a\nb\0": np.ones(1)},
        "[0]*?": [
            {(1, 2): np.ones(1)},
            {0.5: np.ones(1)},
            {"\"'\\": np.ones(1), "a" * 500: np.ones(1)},
        ],
        "é": np.ones(1),
        "e\u0301": np.zeros(1),
        ".zarray": {"_METADATA": np.ones(1), "manifest.ocdbt": np.ones(1)},
    }


def test_every_kind_is_restored_as_it_is(tmp_path):
    state = every_kind()
    save(tmp_path, state, step=1)
    found = restore(tmp_path, state).state
    assert jax.tree.structure(found) == jax.tree.structure(state)
    for (path, want), got in zip(
        jax.tree.leaves_with_path(state), jax.tree.leaves(found), strict=True
    ):
        where = jax.tree_util.keystr(path)
        assert (got.dtype, got.shape, type(got)) == (want.dtype, want.shape, type(want)), where
        if jnp.issubdtype(want.dtype, jax.dtypes.prng_key):
            got, want = jax.random.key_data(got), jax.random.key_data(want)
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes(), where


def test_a_big_endian_leaf_is_restored_into_this_machines_order_and_back(tmp_path):
    big, small = np.arange(3, dtype=">f4"), np.arange(3, dtype="<f4")
    for saved, like in [(big, small), (small, big)]:
        save(tmp_path, {"x": saved}, step=1)
        found = restore(tmp_path, {"x": like}).state["x"]
        assert found.dtype == like.dtype and found.tobytes() == like.tobytes()


@pytest.mark.parametrize("state", [{}, [], None, (), {"a": {}}, {"x": np.zeros((0, 2))}])
def test_a_tree_without_values_is_a_checkpoint_too(tmp_path, state):
    path = save(tmp_path, state, step=7)
    found = restore(tmp_path, state)
    assert found.path == path and found.meta.step == 7
    assert jax.tree.structure(found.state) == jax.tree.structure(state)
    with pytest.raises(CheckpointError, match="y is not in the checkpoint"):
        restore(tmp_path, {"y": np.ones(1)})


def deleted():
    x = jnp.ones(2)
    x.delete()
    return x


ODD = (
    *(np.ones(1, ml_dtypes.uint4), jnp.ones(1, jnp.uint2), np.ones(1, ml_dtypes.float8_e4m3)),
    *(np.array(["a"]), np.array([b"a"]), np.ones(1, np.longdouble)),
    *(np.zeros(1, "M8[D]"), np.zeros(1, "V3")),
)
REFUSED = {
    **{f"dtype {x.dtype}": (x, TypeError, f"can write; got {x.dtype}") for x in ODD},
    "objects": (np.array([None]), TypeError, "got object"),
    "fields": (np.zeros(1, [("a", "f4")]), TypeError, "can write; got "),
    "a mask": (np.ma.array([1.0]), TypeError, "an array of JAX or NumPy; got MaskedArray"),
    "no values": (jax.ShapeDtypeStruct((2,), jnp.float32), TypeError, "got ShapeDtypeStruct"),
    "deleted": (deleted(), ValueError, "got one that was deleted"),
    "text": ("abc", TypeError, "must be an array; got str at x"),
    "a number": (3, TypeError, "must be an array; got int at x"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_saved_is_named_and_leaves_nothing(tmp_path, kind):
    leaf, error, said = REFUSED[kind]
    with pytest.raises(error, match="checkpoint: ") as caught:
        save(tmp_path / "new", {"x": leaf}, step=1)
    assert said in str(caught.value) and "x" in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_traced_leaf_and_paths_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(TypeError, match="'x' must be an array with values; got one that is traced"):
        jax.jit(lambda x: save(tmp_path, {"x": x}, step=1) and x)(1.0)
    with pytest.raises(ValueError, match="a path that UTF-8 can write"):
        save(tmp_path, {"a\udcff": np.ones(1)}, step=1)
    with pytest.raises(ValueError, match="must differ as text; got 'a/b' twice"):
        save(tmp_path, {"a/b": np.ones(1), "a": {"b": np.ones(1)}}, step=1)
    with pytest.raises(ValueError, match="`must_match` must be nested dicts for JSON; got keys"):
        save(tmp_path, {"a": np.ones(1)}, step=1, must_match={(1, 2): 3})
    assert not any(tmp_path.iterdir())


def test_a_value_to_match_may_be_nan(tmp_path):
    save(tmp_path, {"a": np.ones(1)}, step=1, must_match={"x": float("nan"), "y": 1})
    restore(tmp_path, {"a": np.ones(1)}, must_match={"x": float("nan"), "y": 1.0})


def test_what_only_has_the_name_of_a_checkpoint_stays(tmp_path):
    """Folders and links of somebody else, beside checkpoints that go."""
    (tmp_path / "000003-step-9").mkdir()
    (tmp_path / "000003-step-9" / "thesis.tex").write_text("mine")
    (tmp_path / "000004-step-9").mkdir()
    (tmp_path / ".000005-step-9.tmp").mkdir()
    (tmp_path / ".000005-step-9.tmp" / "thesis.tex").write_text("mine")
    save(tmp_path / "elsewhere", {"x": np.ones(1)}, step=1)
    (tmp_path / "000006-step-1").symlink_to(tmp_path / "elsewhere" / "000001-step-1")
    (tmp_path / ".000007-step-9.tmp" / "state").mkdir(parents=True)
    assert clean(tmp_path) == [".000007-step-9.tmp"]
    own = save(tmp_path, {"x": np.ones(1)}, step=9)
    assert own.name == "000007-step-9"
    before = {path.name for path in tmp_path.iterdir()}
    for entry in entries(tmp_path):
        remove(tmp_path, entry)
    assert before - {path.name for path in tmp_path.iterdir()} == {own.name}
    assert restore(tmp_path / "elsewhere", {"x": np.ones(1)}).meta.step == 1


def test_a_foreign_folder_in_the_place_of_a_new_checkpoint_is_left_alone(tmp_path):
    foreign = tmp_path / ".000001-step-9.tmp"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    with pytest.raises(FileExistsError, match="must be free; got something that is no checkpoint"):
        save(tmp_path, {"x": np.ones(1)}, step=9)
    assert (foreign / "thesis.tex").read_text() == "mine"
