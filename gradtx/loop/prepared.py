"""What a step does to a batch before anything else: gather its rows, and prepare it."""

from typing import Any

import jax
import numpy as np

from gradtx.loop.form import spec
from gradtx.loop.loop import Loop
from gradtx.loop.naming import named
from gradtx.loop.rows import gathered
from gradtx.loop.state import TrainState
from gradtx.loop.weights import weight_of

# Folded into the state's key first. No step has this number, so no key of a step is the same.
PREPARE = np.uint32(0xFFFF_5EED)


def prepare_key(state: TrainState, batch: Any) -> jax.Array:
    """The key that a training batch is prepared with.

        key = fold_in(fold_in(state.key, PREPARE), state.epoch)

    Examples without numbers of their own, the entry "id", are told apart by the step, which is
    folded in too.

    Args:
        state: as it is before the step.
        batch: the batch.
    """
    key = jax.random.fold_in(jax.random.fold_in(state.key, PREPARE), state.epoch)
    numbered = isinstance(batch, dict) and "id" in batch
    return key if numbered else jax.random.fold_in(key, state.step)


def prepared(loop: Loop, state: TrainState, batch: Any, *, training: bool) -> Any:
    """A batch as the events and the model see it.

        batch' = loop.prepare(batch, prepare_key(state, batch) if training else None)

    Args:
        loop: what is trained.
        state: as it is before the step.
        batch: a batch, or `Rows`.
        training: whether it is one of the training phase.

    Raises:
        ValueError: unless there is one weight for each example.
    """
    batch = gathered(batch)
    weight_of(batch)  # its shape is checked before it is used
    if loop.prepare is None:
        return batch
    # The same by the bit, whether rows were gathered here or the batch has come from the host.
    batch = jax.lax.optimization_barrier(batch)
    key = prepare_key(state, batch) if training else None
    without = "" if training else " and no key, as in validation"
    with named("Loop.prepare", f"the batch {spec(batch)}{without}", own=True):
        new = loop.prepare(batch, key)
    _check(batch, new)
    return new


def _check(batch: Any, new: Any) -> None:
    """Find what would go wrong far from here, or not at all."""
    if new is None:
        raise TypeError(
            "Loop: `prepare` must return the batch; got None. End it with `return {**batch, ...}`."
        )
    if isinstance(batch, dict) and isinstance(new, dict) and "weight" in batch.keys() - new.keys():
        raise ValueError(
            "Loop: `prepare` must keep the entry 'weight', or rows that only fill up a batch would"
            f" count; got {', '.join(map(str, new))}. Return {{**batch, ...}}."
        )
