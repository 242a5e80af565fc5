"""What is saved comes back bit for bit, into any sharding, and nowhere where it does not fit."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import gradtx
from gradtx.checkpoint import CheckpointError, entries, newest_intact, restore, save, start_save
from gradtx.hooks import early_stopping, ema_params, reset_model_state
from gradtx.loop import Loop, Observer, fit
from tests.checkpoint.small import BATCHES, make


def bits(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same(got, want):
    """Equal structures, dtypes and bits; NaN equals NaN."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert bits(a).tobytes() == bits(b).tobytes()


@pytest.fixture(scope="module")
def trained():
    """The state after a fit's second epoch, and its loop."""
    loop, state = make()
    return loop, fit(loop, state, BATCHES, BATCHES[:1], epochs=2)[0]


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    """A directory with that state."""
    directory = tmp_path_factory.mktemp("saved")
    must_match = {"config": {"lr": 0.05, "out": Path("x")}, "data": "abc"}
    save(
        directory,
        trained[1],
        step=8,
        must_match=must_match,
        rows=[{"epoch": 0, "b": np.nan, "a": np.inf}],
    )
    return directory


def test_a_whole_training_state_comes_back(trained, saved):
    _, fresh = make(seed=1)
    found = restore(saved, fresh)
    assert_same(found.state, trained[1])
    assert found.path == saved / "000001-step-8" and found.damaged == ()
    assert found.meta.step == 8 and found.meta.must_match["config"]["out"] == "x"
    assert str(found.meta.rows) == str([{"epoch": 0, "b": np.nan, "a": np.inf}])


def test_it_can_be_trained_on_and_donated(trained, saved):
    loop, state = trained
    found = restore(saved, make(seed=1)[1]).state
    want = fit(loop, state, BATCHES, epochs=1)[0]
    assert_same(fit(loop, found, BATCHES, epochs=1, donate=True)[0], want)


@pytest.mark.parametrize("abstract", [False, True])
def test_every_kind_of_leaf(tmp_path, abstract):
    state = {
        "bfloat16": jnp.array([1.5, jnp.nan, -0.0], jnp.bfloat16),
        "float16": jnp.ones((2, 1, 3), jnp.float16),
        "float8": jnp.ones(3, jnp.float8_e4m3fn),
        "int4": jnp.array([-8, 7], jnp.int4),
        "bool": jnp.array([True, False]),
        "scalar": jnp.int32(-7),
        "empty": jnp.zeros((0, 3), jnp.bfloat16),
        "keys": jax.random.split(jax.random.key(3, impl="rbg"), 2),
        "a/name with. signs é": [jnp.ones(1), None, (jnp.zeros(2),)],
    }
    save(tmp_path, state, step=0)
    like = jax.eval_shape(lambda: state) if abstract else jax.tree.map(jnp.zeros_like, state)
    assert_same(restore(tmp_path, like).state, state)


def test_numpy_arrays_stay_so_with_their_64_bits(tmp_path):
    state = {"x": np.array([1 / 3, 2.0]), "n": np.int64(2**40)}
    save(tmp_path, state, step=0)
    got = restore(tmp_path, {"x": np.zeros(2), "n": np.int64(0)}).state
    assert isinstance(got["x"], np.ndarray)
    assert_same(got, state)


def test_buffers_may_be_donated_while_it_is_written(tmp_path):
    state = {"x": jnp.arange(2**20, dtype=jnp.float32)}
    want = np.array(state["x"])
    step = jax.jit(lambda s: jax.tree.map(lambda x: 2 * x + 1, s), donate_argnums=0)
    future = start_save(tmp_path, state, step=0)
    for _ in range(20):
        state = step(state)
    assert future.result() == tmp_path / "000001-step-0"
    np.testing.assert_array_equal(restore(tmp_path, state).state["x"], want)


def mesh(shape, names):
    count = int(np.prod(shape))
    return jax.make_mesh(
        shape, names, (jax.sharding.AxisType.Auto,) * len(shape), devices=jax.devices()[:count]
    )


def test_from_one_mesh_onto_others(tmp_path):
    two, four, eight = (mesh(*m) for m in (((2,), "d"), ((2, 2), ("d", "f")), ((8,), "f")))
    x = jnp.arange(64.0).reshape(8, 8)
    at = lambda m, *spec: NamedSharding(m, PartitionSpec(*spec))
    key = jax.random.key(1)
    put = lambda *a: {"x": jax.device_put(x, at(*a)), "key": key}
    save(tmp_path, put(two, "d"), step=0)
    for like in (put(four, "f", "d"), put(eight, None, "f"), put(two), {"x": x, "key": key}):
        got = restore(tmp_path, like).state
        np.testing.assert_array_equal(got["x"], x)
        assert got["x"].sharding.is_equivalent_to(like["x"].sharding, 2)
    spec = jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=at(four, "d"))
    got = restore(tmp_path, {"x": spec, "key": key}).state
    assert got["x"].sharding == spec.sharding


def difference(directory, state, **options):
    with pytest.raises(CheckpointError) as caught:
        restore(directory, state, **options)
    assert "\n" not in str(caught.value) and str(directory) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "other, said",
    [
        (lambda: make(gradtx.adabelief(0.05))[1], "is scale_by_adam in the checkpoint and"),
        (lambda: make(gradtx.sgd(0.05))[1], "opt_state"),
        (lambda: make(optax.adamw(0.05))[1], "opt_state"),
        (lambda: make(hooks=[])[1], "hooks/ema_params"),
        (lambda: make(hooks=[ema_params(0.5), early_stopping()])[1], "hooks/early_stopping"),
    ],
)
def test_another_optimizer_or_hook_is_named_and_params_only_is_the_remedy(
    trained, saved, other, said
):
    message = difference(saved, other())
    assert said in message and "--params-only" in message
    got = restore(saved, other(), params_only=True).state
    assert_same(got, {"params": trained[1].params, "model_state": trained[1].model_state})


def test_another_model_is_named_and_params_only_is_no_remedy(saved):
    other = make(width=6)[1]
    for options in ({}, {"params_only": True}):
        message = difference(saved, other, **options)
        assert (
            "params/hidden/kernel is float32[3, 5] in the checkpoint and float32[3, 6]" in message
        )
        assert "Build the model" in message and "--params-only" not in message


def test_another_dtype_is_named(saved):
    state = make()[1]
    half = state.replace(params=jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params))
    assert "params/w is float32[5] in the checkpoint and bfloat16[5] here" in difference(
        saved, half
    )


def test_values_that_must_match_are_named(saved):
    state = make()[1]
    must_match = {"config": {"lr": 0.1, "out": Path("x")}, "data": "abd"}
    message = difference(saved, state, must_match=must_match)
    assert "config.lr was 0.05 and is 0.1; data was abc and is abd" in message
    assert "out" not in message.split("got:")[1] and "--params-only" in message
    assert "more was (none) and is 1" in difference(
        saved, state, must_match=must_match | {"more": 1}
    )
    restore(saved, state, must_match=must_match, params_only=True)


def test_a_new_fit_from_parameters_has_them_in_its_hooks_too(trained, saved):
    loop, state = make(seed=1)
    begun = loop.init(**restore(saved, state, params_only=True).state, seed=1)
    assert_same(begun.hooks["ema_params"].average, trained[1].params)
    assert int(begun.step) == 0


def recurrent(batch_size, *, width=2):
    """A loop whose model keeps a carry of the batch's size, and its state."""

    def apply(params, model_state, batch, *, key, training):
        pred = batch["x"] @ params["w"] + model_state["carry"]["h"]
        return pred, {"carry": {"h": jnp.tanh(pred)}, "mean": model_state["mean"] + 1.0}

    loss = lambda pred, batch: jnp.square(pred).sum(-1)
    hooks = [reset_model_state("carry")]
    loop = Loop(apply, loss, gradtx.sgd(0.1), hooks=hooks)
    state = {"carry": {"h": jnp.zeros((batch_size, width))}, "mean": jnp.zeros(3)}
    return loop, loop.init({"w": jnp.ones((3, width))}, state)


@pytest.mark.parametrize("form", ["arrays", "numpy", "abstract"])
def test_a_carry_of_other_batches_is_begun_anew_by_params_only(tmp_path, form):
    loop, state = recurrent(4)
    batch = lambda size: {"x": jnp.ones((size, 3))}
    before = fit(loop, state, [batch(4)], epochs=1)[0]
    filled = before.model_state | {"carry": {"h": jnp.ones((4, 2))}}
    save(tmp_path, before.replace(model_state=filled), step=1)
    loop, state = recurrent(8)
    message = difference(tmp_path, state)
    assert "model_state/carry/h is float32[4, 2] in the checkpoint and float32[8, 2]" in message
    assert "the batches as they were" in message and "--params-only" in message
    changed = {"numpy": jax.device_get, "abstract": lambda s: jax.eval_shape(lambda: s)}
    like = changed.get(form, lambda s: s)(state.replace(key=jnp.zeros(2)))
    found = restore(tmp_path, like, params_only=True).state
    want = {"carry": {"h": jnp.zeros((8, 2))}, "mean": before.model_state["mean"]}
    assert_same(found, {"params": before.params, "model_state": want})
    begun = loop.init(**jax.tree.map(jnp.asarray, found))
    after = fit(loop, begun, [batch(8)], epochs=1, donate=True)[0]
    assert not np.array_equal(after.params["w"], before.params["w"])
    assert_same(state.model_state["carry"], want["carry"])  # not donated


def test_params_only_keeps_the_carry_of_what_it_restores_into(tmp_path):
    """Whether the checkpoint has one or not; the model must be the same all the same."""
    state = recurrent(4)[1]
    save(tmp_path / "with", state, step=1)
    less = {"mean": jnp.ones(3)}
    save(tmp_path / "without", state.replace(model_state=less), step=1)
    carry = {"h": jnp.full((4, 2), 3.0)}
    like = state.replace(model_state={"carry": carry, "mean": jnp.zeros(3)})
    for name, mean in (("with", 0.0), ("without", 1.0)):
        got = restore(tmp_path / name, like, params_only=True).state["model_state"]
        assert_same(got, {"carry": carry, "mean": jnp.full(3, mean)})
    got = restore(tmp_path / "with", state.replace(model_state=less), params_only=True).state
    assert_same(got["model_state"], {"mean": jnp.zeros(3)})
    message = difference(tmp_path / "with", recurrent(4, width=5)[1], params_only=True)
    assert "params/w is float32[3, 2] in the checkpoint and float32[3, 5]" in message


def test_what_is_no_array_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match=r"must be an array; got float at a/0"):
        save(tmp_path / "new", {"a": [1.0]}, step=0)
    with pytest.raises(ValueError, match="without slashes"):
        save(tmp_path / "new", {"a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}}, step=0)
    assert not (tmp_path / "new").exists()


def test_an_empty_or_absent_directory_is_an_error_that_says_so(tmp_path):
    assert entries(tmp_path / "absent") == []
    with pytest.raises(CheckpointError, match="must have an intact checkpoint; got none"):
        newest_intact(tmp_path / "absent")


@pytest.mark.parametrize("step", [-1, 2.5, "3", None, True])
def test_a_step_that_no_name_can_hold_is_refused(tmp_path, step):
    message = rf"^save: `step` must be a whole number of at least 0; got {step!r}\."
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "new", {"x": np.ones(2)}, step=step)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "rows", [[{"a": "text"}], [{1: 0.5}], [0.5], "rows", {"a": 1.0}, [{"a": None}], 3]
)
def test_rows_that_are_no_table_are_refused(tmp_path, rows):
    with pytest.raises(
        TypeError, match=r"^save: `rows` must be a sequence, each a dict of text to"
    ):
        save(tmp_path / "new", {"x": np.ones(2)}, step=1, rows=rows)
    assert not (tmp_path / "new").exists()


def test_rows_may_have_what_was_not_measured(tmp_path):
    rows = [{"epoch": 0, "valid_loss": float("nan"), "a": np.float32(0.5)}]
    path = save(tmp_path, {"x": np.ones(2)}, step=1, rows=rows)
    assert np.isnan(restore(path.parent, {"x": np.ones(2)}).meta.rows[0]["valid_loss"])


def test_a_score_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"^save: `score` must be a number or None; got str"):
        save(tmp_path / "new", {"x": np.ones(2)}, step=1, score="good")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("step", [np.int64(7), jnp.int32(7)])
def test_a_step_may_be_an_array_s(tmp_path, step):
    assert save(tmp_path, {"x": np.ones(2)}, step=step).name == "000001-step-7"
    assert [entry.step for entry in entries(tmp_path)] == [7]


@pytest.mark.parametrize("inside", ["", "below/it"])
def test_a_file_in_the_directory_s_place_is_named(tmp_path, inside):
    file = tmp_path / "file"
    file.write_text("mine")
    message = rf"^checkpoint: {file / inside} must be a directory.* got a file at {file}\. Name"
    with pytest.raises(NotADirectoryError, match=message):
        save(file / inside, {"x": np.ones(2)}, step=1)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("valid", [BATCHES[:1], None], ids=["validated", "not validated"])
def test_the_parameters_of_the_evaluation_are_restored_to_predict_with(tmp_path, valid):
    loop, start = make()
    tx, eval_params = gradtx.schedule_free_sgd(0.05), gradtx.schedule_free_eval_params
    loop = Loop(loop.apply, loop.loss, tx, eval_params=eval_params)
    start, seen = loop.init(start.params, start.model_state), {}

    def keep(report):
        seen[report.step] = jax.tree.map(jnp.copy, report.state)
        save(tmp_path / str(report.step), report.state, step=report.step)

    # In the middle of an epoch, at its end, in the middle of the next.
    assert len(BATCHES) > 1
    steps = (1, len(BATCHES) + 1)
    middle = Observer({"after_batch": lambda r: r.step in steps and keep(r)}, name="middle")
    end = Observer({"after_epoch": lambda r: r.epoch == 1 and keep(r)}, name="end")
    fit(loop, start, BATCHES, valid, epochs=2, observers=[middle, end])
    assert sorted(seen) == [1, len(BATCHES), len(BATCHES) + 1]
    for step, state in seen.items():
        get = partial(restore, tmp_path / str(step), start, params_only=True)
        got, trained = get(evaluated=True).state["params"], state.params
        want = loop.evaluated_params(state)
        for a, b in zip(*map(jax.tree.leaves, (got, want)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        pairs = zip(*map(jax.tree.leaves, (got, trained)), strict=True)
        assert step == 1 or not any(np.array_equal(a, b) for a, b in pairs)
        assert_same(get().state["params"], trained)


def test_before_a_fit_the_parameters_of_the_evaluation_are_the_first(tmp_path):
    loop, start = make()
    loop = Loop(loop.apply, loop.loss, loop.tx, eval_params=lambda opt_state, params: params)
    start = loop.init(start.params, start.model_state)
    save(tmp_path, start, step=0)
    found = restore(tmp_path, start, params_only=True, evaluated=True)
    assert_same(found.state["params"], start.params)
