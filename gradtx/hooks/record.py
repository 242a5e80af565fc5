"""The last steps' figures inside the training state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.loop import Hook, StepContext, TrainState


class RecordState(NamedTuple):
    """A ring of rows, one a training batch."""

    count: jax.Array  # int32[]: batches recorded so far
    step: jax.Array  # int32[size]
    loss: jax.Array  # float32[size]
    hyperparams: dict[str, Any]  # float32[size] each


def record(size: int = 1000) -> Hook:
    """Remember the last `size` training batches: step, loss and hyperparameters.

        row count mod size:  step, loss (NaN if the batch was cut short before it had one),
                             the hyperparameters that its update used

    All of it is in the state, of fixed shape, so it works in a compiled fit, one of a population,
    and after a resume. `recorded` puts the rows in order. The host loop's `History` has the same
    for all steps.

    Raises:
        ValueError: if `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"record: `size` must be at least 1; got {size}. Pass a number of steps.")

    def init(state: TrainState) -> RecordState:
        nan = lambda: jnp.full((size,), jnp.nan, jnp.float32)
        values = jax.tree.map(lambda value: nan(), hyperparams(state.opt_state))
        zero = jnp.zeros((), jnp.int32)
        return RecordState(zero, jnp.full((size,), -1, jnp.int32), nan(), values)

    def with_hyperparams(state: RecordState, context: StepContext, row: jax.Array) -> RecordState:
        put = lambda column, value: column.at[row].set(value.astype(column.dtype))
        values = jax.tree.map(put, state.hyperparams, hyperparams(context.opt_state))
        return state._replace(hyperparams=values)

    def before_batch(state: RecordState, context: StepContext):
        if not context.training:
            return state, context
        row = state.count % size
        step, loss = state.step.at[row].set(context.step), state.loss.at[row].set(jnp.nan)
        state = state._replace(count=state.count + 1, step=step, loss=loss)
        return with_hyperparams(state, context, row), context

    def after_loss(state: RecordState, context: StepContext):
        if not context.training:
            return state, context
        row = (state.count - 1) % size
        return state._replace(loss=state.loss.at[row].set(context.loss)), context

    def after_update(state: RecordState, context: StepContext):
        return with_hyperparams(state, context, (state.count - 1) % size), context

    on = {"before_batch": before_batch, "after_loss": after_loss, "after_update": after_update}
    return Hook("record", on, init, priority=50)


def recorded(state: TrainState) -> dict[str, np.ndarray]:
    """The rows that `record` keeps in `state`, oldest first, as arrays on the host.

    Raises:
        ValueError: if the state has no such hook.
    """
    if "record" not in state.hooks:
        raise ValueError(
            f"recorded: the state must be one of a loop with record; its hooks are"
            f" {sorted(state.hooks)}. Add the hook to the loop."
        )
    ring: RecordState = jax.device_get(state.hooks["record"])
    size, count = len(ring.step), int(ring.count)
    rows = np.arange(max(count - size, 0), count) % size
    columns = {"step": ring.step, "loss": ring.loss} | ring.hyperparams
    return jax.tree.map(lambda column: column[rows], columns)
