"""A run is the same on 1, 2 or 4 devices, and goes on with another number of them.

docs/exactness.md has the table of this test. Microbatches are of equal size on any number of
devices: part k has the rows k, k + parts, ... of a batch, wherever they lie.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

import gradtx
from gradtx.checkpoint import entries, restore, save
from gradtx.hooks import ema_params
from gradtx.loop import fit
from gradtx.observers import read_jsonl
from gradtx.parallel.mesh import AXES, place_batches, shard_state
from tests.markdown import ROOT
from tests.parallel import problem

DEVICES = (1, 2, 4)
PARTS = 4
TOLERANCE = 2e-4  # relative, after twelve steps: sums over devices are made in another order


def mesh_of(count):
    types = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh((count, 1), AXES, axis_types=types, devices=jax.devices()[:count])


def order(epoch, start):
    """The batches of an epoch, in an order of its own."""
    found = problem.batches(6)
    turn = np.random.default_rng([7, epoch]).permutation(6)[start:]
    return (found[i] for i in turn)


@pytest.fixture(scope="module")
def loop():
    tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.sgd(0.05, momentum=0.9))
    return replace(problem.make_loop(tx, [ema_params(0.9)]), microbatches=PARTS)


def fit_on(count, loop, state, *, epochs):
    mesh = mesh_of(count)
    state = shard_state(state, mesh)
    return fit(loop, state, place_batches(order, mesh), epochs=epochs, steps_per_execution=1)


def test_losses_and_order_are_those_of_one_device_and_a_run_goes_on_elsewhere(loop, tmp_path):
    state = problem.start(loop)
    want, history = fit_on(1, loop, state, epochs=2)
    for count in DEVICES[1:]:
        got, other = fit_on(count, loop, state, epochs=2)
        np.testing.assert_allclose(other.steps["loss"], history.steps["loss"], rtol=TOLERANCE)
        problem.assert_close(got, want, TOLERANCE)
    # Four devices, then two: the first fit ends, so the second is one more of one epoch.
    half, first = fit_on(4, loop, state, epochs=1)
    save(tmp_path, half, step=6)
    found = restore(tmp_path, shard_state(problem.start(loop), mesh_of(2))).state
    one, _ = fit_on(1, loop, jax.device_put(half, jax.devices()[0]), epochs=1)
    two, _ = fit_on(2, loop, found, epochs=1)
    problem.assert_close(two, one, TOLERANCE)
    np.testing.assert_allclose(first.steps["loss"], history.steps["loss"][:6], rtol=TOLERANCE)


def train(devices, *argv):
    flags = f"--xla_force_host_platform_device_count={devices}"
    mesh = ["--mesh", f"data={devices}"] if devices > 1 else []
    return subprocess.run(
        [sys.executable, "train.py", *mesh, *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.thorough
def test_train_py_on_other_numbers_of_devices(tmp_path):
    """The same losses within 2e-4 of their size, and a resume on another number of devices."""
    options = "--model resnet_tiny --batch-size 16 --microbatches 4 --limit-batches 6 --epochs 2"
    options += " --lr 1e-3 --optimizer momentum --schedule constant"
    losses = {}
    for devices in DEVICES:
        done = train(devices, *options.split(), "--out", tmp_path / str(devices))
        assert done.returncode == 0, done.stderr
        losses[devices] = read_jsonl(tmp_path / str(devices) / "metrics.jsonl").steps["loss"]
        np.testing.assert_allclose(losses[devices], losses[1], rtol=TOLERANCE)

    # What four devices have saved after one epoch goes on on two, and on one.
    for devices in (2, 1):
        out = tmp_path / f"moved-{devices}"
        done = train(4, *options.split(), "--out", out)
        assert done.returncode == 0 and "Devices: 4 of 1 process" in done.stdout
        saved = entries(out / "checkpoints")
        assert [entry.step for entry in saved] == [6, 12]
        for entry in saved:
            if entry.step != 6:
                shutil.rmtree(entry.path(out / "checkpoints"))
        done = train(devices, "--resume", out)
        assert done.returncode == 0, done.stderr
        moved = read_jsonl(out / "metrics.jsonl").steps["loss"]
        np.testing.assert_allclose(moved, losses[1], rtol=TOLERANCE)
