"""All of a run that is decided before its first step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from gradtx.loop import Loop, TrainState, fit
from gradtx.parallel.mesh import make_mesh, place_batches, shard_state
from gradtx.parallel.processes import say
from gradtx.run.options import RunOptions
from gradtx.run.sources import Source


class Job(NamedTuple):
    """A loop with its first state, its batches, and how it is fitted."""

    loop: Loop
    state: TrainState
    source: Source
    fit: Callable[..., Any] = fit  # or a recipe with its options, called like `fit`
    remark: Callable[[dict[str, Any]], str] = lambda row: ""  # of the table's last row


def mesh_for(config: RunOptions) -> Mesh | None:
    """The mesh of all devices; None for one process without `--mesh`.

    Raises:
        ValueError: if the options do not fit the devices.
    """
    text = config.mesh or (f"data={jax.device_count()}" if jax.process_count() > 1 else None)
    if text is None:
        return None
    if config.sweep or config.find_lr:
        raise ValueError(
            f"{config.PROG}: `--sweep` and `--find-lr` are for one process without `--mesh`. Leave"
            " either out."
        )
    mesh = make_mesh(text, f"{config.PROG}: --mesh")
    if config.batch_size % mesh.size:
        raise ValueError(
            f"{config.PROG}: `--batch-size` must be a multiple of the number of devices,"
            f" {mesh.size}; got {config.batch_size}. Use"
            f" {-(-config.batch_size // mesh.size) * mesh.size}."
        )
    say(f"Devices: {mesh.size} of {jax.process_count()} process(es), as {text}.")
    return mesh


def on_mesh(job: Job, mesh: Mesh | None) -> Job:
    """The job with its state and its batches on the mesh, if there is one."""
    if mesh is None:
        return job
    train, valid = (place_batches(x, mesh) for x in (job.source.train, job.source.valid))
    source = job.source._replace(train=train, valid=valid)
    return job._replace(state=shard_state(job.state, mesh), source=source)
