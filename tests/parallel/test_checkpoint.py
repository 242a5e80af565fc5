"""What was saved on one mesh is restored on another, and on one device."""

import jax
import pytest

import gradtx
from gradtx.checkpoint import restore, save
from gradtx.hooks import ema_params
from gradtx.parallel.mesh import make_mesh, shard_state, state_shardings
from tests.parallel import problem


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A state on a mesh, its loop, and where it was saved."""
    loop = problem.make_loop(gradtx.adamw(0.01), [ema_params()])
    state = shard_state(problem.start(loop), make_mesh("data=4,fsdp=2"))
    # No two leaves alike, so that none can stand in for another.
    count = iter(range(1, 100))
    key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    state = jax.tree.map(lambda x: x if key(x) else x + next(count), state)
    directory = tmp_path_factory.mktemp("saved")
    save(directory, state, step=3)
    return loop, state, directory


@pytest.mark.parametrize("text", ["data=8", "fsdp=8", None])
def test_a_state_moves_to_another_mesh(saved, text):
    loop, state, directory = saved
    like = problem.start(loop)
    if text is not None:
        mesh = make_mesh(text)
        like = shard_state(like, mesh)
        want = jax.tree.leaves(state_shardings(like, mesh))
    else:
        want = [x.sharding for x in jax.tree.leaves(like)]
    found = restore(directory, like).state
    assert [x.sharding for x in jax.tree.leaves(found)] == want
    problem.assert_close(found, state, tolerance=0)
