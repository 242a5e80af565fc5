"""The jitted parts of a fit."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax

from gradtx.loop import phases
from gradtx.loop.blocks import eval_block, train_block
from gradtx.loop.likeness import LoopKey
from gradtx.loop.loop import Loop
from gradtx.loop.state import TrainState
from gradtx.loop.step import eval_step, train_step
from gradtx.parallel.axes import on_automatic
from gradtx.parallel.mesh import place, shardings_of

KEPT = 8

epoch_row = jax.jit(phases.epoch_row)  # of any loop's state, which it does not use up


class Jitted(NamedTuple):
    """Jitted functions of one loop; each takes (state, ...), of which the state is donated."""

    train_step: Any
    train_block: Any
    eval_step: Any
    eval_block: Any
    open_fit: Any
    open_epoch: Any
    close_train: Any
    close_epoch: Any
    close_fit: Any


def prepare(loop: Loop, state: TrainState) -> tuple[Jitted, TrainState]:
    """The jitted parts for this state; if it is on a mesh, what is not comes there too.

    They are those of `loop`, or of one before it that does the same, so that nothing is compiled
    anew.

    Args:
        loop: what is trained.
        state: that a fit begins with.
    """
    state = on_automatic(state)
    shardings = shardings_of(state)
    leaves = () if shardings is None else tuple(jax.tree.leaves(shardings))
    state = state if shardings is None else place(state, shardings)
    return _jitted(LoopKey(loop), leaves), state


# The programs of the loops that were used last; with a loop that is forgotten go its programs.
@lru_cache(maxsize=KEPT)
def _jitted(key: LoopKey, shardings: tuple[Any, ...]) -> Jitted:
    """The parts that return states with these shardings, a leaf each, or none as XLA likes.

    On a mesh that matters: XLA may give a leaf another sharding than it came with, and the next
    step would be compiled anew.
    """

    def settled(state: TrainState) -> TrainState:
        leaves, structure = jax.tree.flatten(state)
        # One that became weakly typed, as a Python number is, would compile the next step anew.
        leaves = [x.astype(x.dtype) if getattr(x, "weak_type", False) else x for x in leaves]
        if shardings:
            leaves = jax.lax.with_sharding_constraint(leaves, list(shardings))
        return jax.tree.unflatten(structure, leaves)

    def jitted(part: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            out = part(key.loop, *args, **kwargs)
            if isinstance(out, TrainState):
                return settled(out)
            return settled(out[0]), *out[1:]

        # The loop is no argument: JAX would keep it, and what it holds, in caches of its own.
        run.__name__ = part.__name__
        return jax.jit(run, donate_argnums=0, **options)

    return Jitted(
        train_step=jitted(train_step),
        train_block=jitted(train_block),
        eval_step=jitted(eval_step),
        eval_block=jitted(eval_block),
        open_fit=jitted(phases.open_fit),
        open_epoch=jitted(phases.open_epoch),
        close_train=jitted(phases.close_train, static_argnames="validate"),
        close_epoch=jitted(phases.close_epoch),
        close_fit=jitted(phases.close_fit),
    )
