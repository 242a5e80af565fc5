"""The devices of a run: the mesh that its options ask for, with the state and the batches on it."""

import math

import jax
from jax.sharding import Mesh

from gradtx.kinds import checked
from gradtx.loop import TrainState
from gradtx.parallel.mesh import make_mesh, parse_mesh, place_batches, shard_state
from gradtx.parallel.processes import say
from gradtx.run.options import RunOptions
from gradtx.run.sources import BatchSource


@checked
def mesh_for(options: RunOptions) -> Mesh | None:
    """The mesh of all devices; None for one process without `--mesh`.

    Args:
        options: the options of the run; `mesh` and `batch_size` decide.

    Raises:
        ValueError: if the options do not fit the devices.
    """
    text = options.mesh or (f"data={jax.device_count()}" if jax.process_count() > 1 else None)
    if text is None:
        return None
    if options.is_search:
        raise ValueError(
            f"{options.PROG}: `--sweep` and `--find-lr` are for one process without `--mesh`, as is"
            " `--search`. Leave either out."
        )
    mesh = make_mesh(text, f"{options.PROG}: --mesh")
    if options.batch_size % mesh.size:
        raise ValueError(
            f"{options.PROG}: `--batch-size` must be a multiple of the number of devices,"
            f" {mesh.size}; got {options.batch_size}. Use"
            f" {-(-options.batch_size // mesh.size) * mesh.size}."
        )
    say(f"Devices: {mesh.size} of {jax.process_count()} process(es), as {text}.")
    return mesh


def device_count(options: RunOptions) -> int:
    """How many devices a run splits its batches over.

    Args:
        options: the options of the run.
    """
    if options.mesh is None:
        return jax.device_count() if jax.process_count() > 1 else 1
    return math.prod(parse_mesh(options.mesh, f"{options.PROG}: --mesh").values())


@checked
def on_mesh(
    state: TrainState, source: BatchSource, mesh: Mesh | None
) -> tuple[TrainState, BatchSource]:
    """The state and the batches on the mesh, if there is one.

    Args:
        state: the first state of the run.
        source: the batches of the run.
        mesh: as `mesh_for` makes it, or None for one device.
    """
    if mesh is None:
        return state, source
    train, valid = (place_batches(batches, mesh) for batches in (source.train, source.valid))
    return shard_state(state, mesh), source._replace(train=train, valid=valid)
