"""`--batch-size auto`: the largest batch whose step fits into the memory of the device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax

from gradtx.core.examples import count_examples, has_rows
from gradtx.kinds import checked
from gradtx.loop import Loop, TrainState
from gradtx.loop.program import step_program
from gradtx.parallel.processes import say
from gradtx.run.devices import device_count
from gradtx.run.options import RunOptions
from gradtx.run.runner import Runner
from gradtx.run.sources import BatchSource, first_batch

C = TypeVar("C", bound=RunOptions)

SHARE = 0.85  # of the memory: blocks of steps, validation and the allocator want some too
MOST = 2**16
TRIED = 16  # examples in the batch that a run is asked for first


@checked
def step_bytes(loop: Loop, state: TrainState, batch: Any, *, size: int) -> int:
    """The bytes that the program of one training step needs, by `memory_analysis()`.

        bytes = arguments + results + temporaries - arguments that results take over

    The step is compiled, not run.

    Args:
        loop: the loop.
        state: its first state.
        batch: a batch, of any size.
        size: the number of examples to compile for.
    """
    count = count_examples(batch, loop.examples, label=loop.label)

    def of(x: Any) -> jax.ShapeDtypeStruct:
        shape = (size, *x.shape[1:]) if has_rows(x, count) else x.shape
        return jax.ShapeDtypeStruct(shape, x.dtype)

    return step_program(loop, jax.eval_shape(lambda: state), jax.tree.map(of, batch)).bytes


@checked
def largest_batch_size(
    loop: Loop, state: TrainState, batch: Any, *, limit: float, multiple: int = 1
) -> int:
    """The largest power of two, times `multiple`, whose step needs at most `limit` bytes.

    Two sizes say how the need grows; the largest that should fit is then compiled, and smaller ones
    until one does.

    Args:
        loop: the loop.
        state: its first state.
        batch: a batch, of any size.
        limit: in bytes.
        multiple: what every size is a multiple of, such as `loop.microbatches`.

    Raises:
        ValueError: if not even `multiple` examples fit.
    """
    need = lambda size: step_bytes(loop, state, batch, size=size)
    small = 8 * multiple
    first, second = need(small), need(2 * small)
    slope = max((second - first) / small, 1e-9)
    size = multiple
    while 2 * size <= MOST and first + (2 * size - small) * slope <= limit:
        size *= 2
    while need(size) > limit:
        if size == multiple:
            raise ValueError(
                f"--batch-size auto: a step of {multiple} example(s) must fit into {limit:,.0f}"
                " bytes; it does not. Take a smaller model or image, or --remat."
            )
        size //= 2
    return size


class _Found(Exception):
    """What the script trains."""


class _Probe(Runner):
    """A run that stops where the training would begin."""

    def fit(
        self, recipe: Any, loop: Loop, state: TrainState, source: BatchSource, **arguments: Any
    ) -> Any:
        del recipe, arguments
        raise _Found(loop, state, first_batch(source))


def device_memory(prog: str) -> int:
    """The bytes of memory of this process's first accelerator.

    Args:
        prog: the script, with which the message begins.

    Raises:
        ValueError: on a CPU, which has no memory of its own to fill.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    if jax.default_backend() == "cpu" or "bytes_limit" not in stats:
        raise ValueError(
            f"{prog}: `--batch-size auto` must have an accelerator that says how much"
            f" memory it has; got {jax.devices()[0].device_kind}. Name a number."
        )
    return stats["bytes_limit"]


def with_largest_batch(options: C, train: Callable[[C, Runner], Any]) -> C:
    """Options with the largest batch that fits, for a script that is asked what it trains.

    Args:
        options: of the run, with the batch size `AUTO`.
        train: the script's own function, as `launch` takes it.

    Raises:
        ValueError: for a search, on a CPU, or if no batch fits.
    """
    if options.is_search:
        raise ValueError(
            f"{options.PROG}: `--batch-size auto` is for a training; got a search. Name a number."
        )
    limit = SHARE * device_memory(options.PROG)
    multiple = options.microbatches
    probe = replace(options, batch_size=TRIED * multiple)
    try:
        train(probe, _Probe(probe))
    except _Found as found:
        loop, state, batch = found.args
    else:
        raise ValueError(
            f"{options.PROG}: `--batch-size auto` is for a training by `run.fit`; the script called"
            " none. Name a number."
        )
    each = largest_batch_size(loop, state, batch, limit=limit, multiple=multiple)
    size = each * device_count(options)
    say(f"Batch size: {size}, the largest power of two a device that fits.")
    return replace(options, batch_size=size)
