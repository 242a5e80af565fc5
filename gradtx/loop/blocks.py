"""Blocks of steps: several batches, one program."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.loop.loop import Loop
from gradtx.loop.looped import looped
from gradtx.loop.rows import Rows
from gradtx.loop.state import PyTree, TrainState
from gradtx.loop.step import eval_step, train_step

# What the stacked batches of a block may take, in bytes, and the most steps in one.
MEMORY = 2**28
LONGEST = 128


_train_step, _eval_step = looped(train_step), looped(eval_step)


class Block(NamedTuple):
    """Batches of one form, to be run by one program.

    Args:
        batches: in their order.
        length: how many the program is made for; `len(batches)` at least.
        is_seen: whether the state after the last of them is to be seen.
    """

    batches: list[Any]
    length: int
    is_seen: bool


def longest(batch: PyTree, steps_per_execution: int | str) -> int:
    """How many batches like this one a block may have.

    XLA runs plain convolutions inside a loop many times slower than outside on a CPU, so there
    "auto" is one: a plain jitted call.

    Args:
        batch: any of them.
        steps_per_execution: a number, or "auto" for as many as `MEMORY` allows.
    """
    if not isinstance(steps_per_execution, str):
        return steps_per_execution
    if jax.default_backend() == "cpu":
        return 1
    size = sum(getattr(x, "nbytes", 8) for x in jax.tree.leaves(_own(batch)))
    return max(1, min(LONGEST, MEMORY // max(size, 1)))


def blocks(
    batches: Iterable[Any],
    steps_per_execution: int | str,
    most: Callable[[], int] = lambda: LONGEST,
    is_seen: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """Batches in blocks, each of batches of one form, and up to where the state is seen.

    Args:
        batches: of an epoch.
        steps_per_execution: as for `longest`.
        most: asked for each batch: how many a block may have now.
        is_seen: asked once for each batch, in order: whether the state after it is to be seen.
    """
    held: list[Any] = []
    length, form = 1, None
    for batch in batches:
        if form != (form := _form(batch)):
            if held:
                yield Block(held, length, False)
            held, length = [], longest(batch, steps_per_execution)
        held.append(batch)
        seen = is_seen()
        if seen or len(held) >= min(length, most()):
            yield Block(held, length, seen)
            held = []
    if held:
        yield Block(held, length, False)


def _form(batch: PyTree) -> Any:
    """Structure, shapes and dtypes: what a program is compiled for."""
    leaves, structure = jax.tree.flatten(batch)
    return structure, [(np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves]


def stack(batches: list[Any], length: int) -> PyTree:
    """Batches along a new leading axis [length]; what is missing repeats the last.

    Of `Rows` the data set stays as it is.

    Args:
        batches: of one form, `length` at most.
        length: the size of the axis.
    """
    filled = [*map(_own, batches + batches[-1:] * (length - len(batches)))]
    on_host = all(isinstance(x, np.ndarray) for x in jax.tree.leaves(filled))
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *filled) if on_host else _stack(filled)
    return _with_own(batches[0], stacked)


@jax.jit
def _stack(batches: list[Any]) -> PyTree:
    return jax.tree.map(lambda *xs: jnp.stack(xs), *batches)


def _own(batch: PyTree) -> PyTree:
    """What belongs to a batch alone: all of it, but for the data set of `Rows`."""
    return (batch.indices, batch.extra) if isinstance(batch, Rows) else batch


def _with_own(batch: PyTree, own: PyTree) -> PyTree:
    """`batch` with another own part."""
    return Rows(batch.data, *own) if isinstance(batch, Rows) else own


def _nth(stacked: PyTree, i: Any) -> PyTree:
    """Batch number i of stacked ones."""
    return _with_own(stacked, jax.tree.map(lambda x: x[i], _own(stacked)))


def train_block(
    loop: Loop, state: TrainState, stacked: PyTree, count: Any
) -> tuple[TrainState, dict[str, Any]]:
    """`count` training steps in one program: the state after them, and their logs.

        for i in range(count): state, logs[i] = train_step(loop, state, batch i)

    The steps are those of the compiled epoch. `count` is an argument, so one program serves every
    number of batches up to the block's length.

    Args:
        loop: what is trained.
        state: as `train_step` takes it.
        stacked: batches along a leading axis [length], as `stack` makes them.
        count: int32[], how many of them, from the first on; the rest of the logs is zero.
    """
    length = len(jax.tree.leaves(_own(stacked))[0])
    log = jax.eval_shape(lambda: _train_step(loop, state, _nth(stacked, 0))[1])
    logs = jax.tree.map(lambda x: jnp.zeros((length, *x.shape), x.dtype), log)

    def step(i: Any, carry: Any) -> Any:
        state, log = _train_step(loop, carry[0], _nth(stacked, i))
        return state, jax.tree.map(lambda xs, x: xs.at[i].set(x), carry[1], log)

    return jax.lax.fori_loop(0, count, step, (state, logs))


def eval_block(loop: Loop, state: TrainState, stacked: PyTree, count: Any) -> TrainState:
    """`count` validation steps in one program.

        for i in range(count): state = eval_step(loop, state, batch i)

    Args:
        loop: what is trained.
        state: as `eval_step` takes it.
        stacked: batches along a leading axis [length], as `stack` makes them.
        count: int32[], how many of them, from the first on.
    """
    step = lambda i, state: _eval_step(loop, state, _nth(stacked, i))
    return jax.lax.fori_loop(0, count, step, state)
