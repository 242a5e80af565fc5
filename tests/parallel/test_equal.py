"""Many devices compute what one does: parameters, moments, statistics, hooks and history."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.hooks import accumulate_gradients, ema_params, terminate_on_nan
from gradtx.loop import Loop, Observer, compiled_epoch, fit, from_linen, train_step
from gradtx.loop.jitted import prepare
from gradtx.loop.losses import cross_entropy
from gradtx.models import resnet_tiny
from gradtx.parallel.mesh import (
    make_mesh,
    place_batch,
    place_batches,
    shard_state,
    shardings_of,
    state_shardings,
)
from tests.parallel import problem

ADAM = {"learning_rate": 0.01, "eps": 1e-4}  # or rounding alone decides the steps at tiny gradients
CLIPPED = lambda: gradtx.chain(gradtx.clip_by_global_norm(0.05), gradtx.adamw(**ADAM))
thorough = partial(pytest.param, marks=pytest.mark.thorough)


@pytest.mark.parametrize(
    "make, meshes",
    [
        # Per element, with a norm over all; of whole matrices.
        pytest.param(CLIPPED, ("data=8", "data=4,fsdp=2"), id="clip+adamw"),
        pytest.param(lambda: gradtx.muon(0.02), ("fsdp=8",), id="muon"),
        thorough(lambda: gradtx.sgd(0.1), problem.MESHES, id="sgd"),
        thorough(lambda: gradtx.adamw(**ADAM), ("fsdp=8",), id="adamw"),
        thorough(lambda: gradtx.lamb(**ADAM), ("data=4,fsdp=2",), id="lamb"),
    ],
)
def test_steps_on_a_mesh_are_the_steps_on_one_device(make, meshes):
    loop = problem.make_loop(make())
    want, losses = problem.steps_on(None, loop)
    for mesh in meshes:
        got, on_mesh = problem.steps_on(mesh, loop)
        problem.assert_close(got, want)
        np.testing.assert_allclose(on_mesh, losses, rtol=problem.TOLERANCE)


def test_batch_statistics_and_the_gradients_norm_are_those_of_the_whole_batch():
    """In NumPy: on a mesh of data=8 no device has more than two of the sixteen rows."""
    loop = problem.make_loop(gradtx.chain(gradtx.clip_by_global_norm(0.05), gradtx.sgd(1.0)))
    first = problem.start(loop)
    mesh = make_mesh("data=8")
    batch = problem.batches(1)[0]
    run, state = prepare(loop, shard_state(jax.tree.map(jnp.copy, first), mesh))
    state, _ = run.train_step(state, place_batch(batch, mesh))
    hidden = batch["image"].astype(np.float64) @ np.float64(first.params["dense"]["kernel"])
    got = state.model_state["batch_stats"]["norm"]
    np.testing.assert_allclose(got["mean"], 0.1 * hidden.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["var"], 0.9 + 0.1 * hidden.var(0, ddof=1), rtol=1e-5)
    moved = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), state.params, first.params)
    norm = np.sqrt(sum(np.square(np.float64(x)).sum() for x in jax.tree.leaves(moved)))
    assert norm == pytest.approx(0.05, rel=1e-4)


def test_a_fit_on_a_mesh_in_blocks_is_the_fit_on_one_device():
    loop = problem.make_loop(gradtx.sgd(0.1))
    want, history = problem.fit_on(None, loop, epochs=2)
    blocks = {"steps_per_execution": 2}
    got, on_mesh = problem.fit_on("data=4,fsdp=2", loop, epochs=2, **blocks)
    problem.assert_close(got, want)
    problem.assert_close(on_mesh.steps, history.steps)
    for row, wanted in zip(on_mesh.rows, history.rows, strict=True):
        del row["time"], wanted["time"]
        assert row == pytest.approx(wanted, rel=problem.TOLERANCE)


def test_the_hooks_of_a_sharded_loop():
    hooks = [terminate_on_nan(), accumulate_gradients(2), ema_params(0.5)]
    loop = problem.make_loop(gradtx.adamw(**ADAM), hooks)
    want, _ = problem.steps_on(None, loop, count=4)
    got, _ = problem.steps_on("data=4,fsdp=2", loop, count=4)
    problem.assert_close(got, want)
    average = got.hooks["ema_params"].average["dense"]["kernel"]
    assert average.sharding == got.params["dense"]["kernel"].sharding
    assert not average.sharding.is_fully_replicated


def test_a_nan_on_one_device_ends_the_fit_on_all():
    loop = problem.make_loop(gradtx.sgd(0.1), [terminate_on_nan()])
    bad = problem.batches(2)
    bad[1]["image"][-1] = np.nan
    mesh = make_mesh("data=8")
    state, history = fit(
        loop, shard_state(problem.start(loop), mesh), place_batches(bad, mesh), epochs=3
    )
    assert int(state.hooks["terminate_on_nan"]) == 1 and len(history.rows) == 1
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(problem.numbers(state.params)))


def test_the_state_keeps_its_shardings_and_the_step_is_compiled_once(caplog):
    loop = problem.make_loop(gradtx.muon(0.02), [terminate_on_nan(), ema_params()])
    mesh = make_mesh("data=4,fsdp=2")
    state = shard_state(problem.start(loop), mesh)
    # A hyperparameter that was set anew is not on the mesh; the fit brings it there.
    state = state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, learning_rate=0.01))
    before = state_shardings(state, mesh)
    seen = []
    look = Observer({"after_batch": lambda report: seen.append(shardings_of(report.state))})
    with jax.log_compiles():
        problem.fit_on("data=4,fsdp=2", loop, state=state, epochs=2, observers=[look])
    assert len(seen) == 6 and all(after == before for after in seen)
    for name in ("train_step", "eval_step", "open_epoch", "close_train", "close_epoch"):
        assert sum(f"Compiling jit({name})" in line for line in caplog.messages) == 1, name


def test_a_compiled_epoch_on_a_mesh():
    loop = problem.make_loop(CLIPPED())
    data = jax.tree.map(lambda *rows: np.concatenate(rows), *problem.batches(3))
    order = np.arange(3 * problem.ROWS, dtype=np.int32).reshape(3, problem.ROWS)
    epoch = jax.jit(compiled_epoch, static_argnums=0)
    want, _, _ = epoch(loop, problem.start(loop), data, order)
    mesh = make_mesh("data=4,fsdp=2")
    split = jax.NamedSharding(mesh, jax.P(None, ("data", "fsdp")))
    state = shard_state(problem.start(loop), mesh)
    got, _, _ = epoch(loop, state, data, jax.device_put(order, split))
    problem.assert_close(got, want)


@pytest.mark.thorough
def test_a_residual_network_in_its_cpu_form():
    """The written-out gradients of convolutions and norms are split as well."""
    model = resnet_tiny(num_classes=4, conv_form="fast")
    rng = np.random.default_rng(0)
    image = rng.standard_normal((16, 40, 40, 1)).astype(np.float32)
    batch = {"image": image, "label": np.arange(16, dtype=np.int32) % 4}
    variables = dict(jax.jit(partial(model.init, train=False))(jax.random.key(0), image[:1]))
    loop = Loop(apply=from_linen(model), loss=cross_entropy, tx=gradtx.sgd(0.1))
    state = loop.init(variables.pop("params"), variables)
    step = jax.jit(train_step, static_argnums=0)
    want, _ = step(loop, state, batch)
    mesh = make_mesh("data=4,fsdp=2")
    got, _ = step(loop, shard_state(state, mesh), place_batch(batch, mesh))
    problem.assert_close(got, want, tolerance=1e-4)
    first, last = (x.params["stem_conv"]["kernel"] for x in (state, want))
    assert np.abs(first - last).max() > 1e-3
