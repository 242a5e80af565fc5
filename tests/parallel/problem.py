"""A net with batch normalization, its data, and a fit of it: on one device or on a mesh."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gradtx.loop import Loop, fit, from_linen
from gradtx.loop.jitted import prepare
from gradtx.loop.losses import accuracy, cross_entropy
from gradtx.models.norm import BatchNorm
from gradtx.parallel.mesh import make_mesh, place_batches, shard_state

ROWS, FEATURES, WIDTH, CLASSES = 16, 24, 64, 8
MESHES = ("data=8", "data=4,fsdp=2", "fsdp=8")
# Sums over devices are made in another order. Relative to a leaf's largest value.
TOLERANCE = 2e-5


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.relu(
            BatchNorm(name="norm")(nn.Dense(WIDTH, use_bias=False, name="dense")(x), train=train)
        )
        return nn.Dense(CLASSES, name="head")(x)


def batches(count=3):
    rng = np.random.default_rng(0)
    # Each batch in its rows' order, so that a device's own mean is far from the batch's.
    image = np.sort(rng.standard_normal((count, ROWS, FEATURES)).astype(np.float32), axis=1)
    label = rng.integers(0, CLASSES, (count, ROWS)).astype(np.int32)
    weight = np.arange(ROWS, dtype=np.float32) % 4
    return [{"image": i, "label": y, "weight": weight} for i, y in zip(image, label, strict=True)]


def make_loop(tx, hooks=()):
    return Loop(
        apply=from_linen(Net()),
        loss=cross_entropy,
        tx=tx,
        metrics={"accuracy": accuracy},
        hooks=hooks,
    )


def start(loop):
    variables = dict(Net().init(jax.random.key(0), jnp.zeros((1, FEATURES)), train=False))
    return loop.init(variables.pop("params"), variables, seed=3)


def fit_on(mesh, loop, *, epochs=1, state=None, **how):
    """The state after a fit, and its history."""
    state = start(loop) if state is None else state
    train = valid = batches()
    if mesh is not None:
        mesh = make_mesh(mesh)
        state = shard_state(state, mesh)
        train, valid = place_batches(train, mesh), place_batches(valid, mesh)
    return fit(loop, state, train, valid, epochs=epochs, **how)


def steps_on(mesh, loop, *, count=3):
    """The state after a few training steps, without the rest of a fit, and their losses."""
    state, train = start(loop), batches(count)
    if mesh is not None:
        mesh = make_mesh(mesh)
        state, train = shard_state(state, mesh), place_batches(train, mesh)
    run, state = prepare(loop, jax.tree.map(jnp.copy, state))
    losses = []
    for batch in train:
        state, log = run.train_step(state, batch)
        losses.append(float(log["loss"]))
    return state, losses


def numbers(tree):
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.tree.map(lambda x: np.asarray(data(x)), tree)


def assert_close(got, want, tolerance=TOLERANCE):
    for (path, a), b in zip(
        jax.tree.leaves_with_path(numbers(got)), jax.tree.leaves(numbers(want)), strict=True
    ):
        scale = np.abs(b).max() if np.issubdtype(b.dtype, np.floating) else 0
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=where)
