"""The driver without a host: a whole epoch, or a whole fit, as one pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import Whole, checked
from gradtx.loop.begin import check_watched
from gradtx.loop.loop import Loop
from gradtx.loop.looped import looped
from gradtx.loop.phases import close_epoch, close_fit, close_train, epoch_row, open_epoch, open_fit
from gradtx.loop.rows import check_order, check_validation, take
from gradtx.loop.state import PyTree, TrainState
from gradtx.loop.step import eval_step, train_step
from gradtx.parallel.axes import explained

_train_step, _eval_step = looped(train_step), looped(eval_step)


@checked
def epoch_order(key: jax.Array, *, examples: int, batch_size: Whole) -> jax.Array:
    """A random order of one epoch: int32[examples // batch_size, batch_size].

        order = permutation(examples)[: steps * batch_size]        steps = examples // batch_size

    Args:
        key: of the random numbers, a typed key.
        examples: their number; those that don't fill a batch are left out.
        batch_size: examples in a batch.

    Raises:
        ValueError: if there is not one full batch.
    """
    steps = examples // batch_size
    if steps < 1:
        raise ValueError(
            f"epoch_order: needs one full batch at least; got {examples} examples for"
            f" batch_size={batch_size}. Lower the batch size."
        )
    order = jax.random.permutation(key, examples)[: steps * batch_size]
    return order.reshape(steps, batch_size).astype(jnp.int32)


@checked
@explained("compiled_epoch")
def compiled_epoch(
    loop: Loop,
    state: TrainState,
    train: PyTree,
    order: jax.Array,
    valid: PyTree = None,
    valid_order: jax.Array | None = None,
    *,
    remat: bool = False,
) -> tuple[TrainState, dict[str, jax.Array], dict[str, jax.Array]]:
    """One epoch under `lax.scan`, with the data on the device.

        for batch in order: state = train_step(state, take(train, batch)), then validation

    Returns the state, the steps' logs (each float[steps]) and the line of the epoch table.
    Bit-identical to the host loop over the same batches, but for plain convolutions on a CPU,
    which XLA rounds differently, and runs many times slower, inside a loop.

    Args:
        loop: what is trained; static under `jit`.
        state: one of a fit that is open, between two epochs; at the start that is `open_fit`'s.
        train: a pytree of arrays with a leading axis of examples.
        order: int32[steps, B], rows of indices into `train`.
        valid: the validation set, a pytree like `train`; None for an epoch without validation.
        valid_order: int32[valid_steps, B], rows of indices into `valid`.
        remat: for who differentiates the epoch: whether a step is computed once more then, so that
            of each the state alone is kept, and not what the model computes.

    Raises:
        ValueError: if `valid` and `valid_order` are not together, or a hook watches what is not
            there, or an order has other axes or indices than it must.
    """
    where, validated = "compiled_epoch", valid is not None
    check_validation(where, valid, valid_order)
    check_watched(where, loop, state, validated=validated)
    check_order(where, "order", order, train, axes="steps, B")
    state = open_epoch(loop, state)
    body = lambda state, rows: _train_step(loop, state, take(train, rows))
    state, logs = jax.lax.scan(_again_if(remat, body), state, order)
    state = close_train(loop, state, validate=validated)
    if validated:
        check = lambda state, rows: (_eval_step(loop, state, take(valid, rows)), None)
        state, _ = jax.lax.scan(_again_if(remat, check), state, valid_order)
    row = epoch_row(state)
    return close_epoch(loop, state), logs, row


@checked
def compiled_fit(
    loop: Loop,
    state: TrainState,
    train: PyTree,
    orders: jax.Array,
    valid: PyTree = None,
    valid_order: jax.Array | None = None,
    *,
    remat: bool = False,
) -> tuple[TrainState, dict[str, jax.Array], dict[str, jax.Array]]:
    """A fit of `len(orders)` epochs as one pure function: for `jit`, `vmap` and `lax.map`.

        state = fold(compiled_epoch, orders, state)

    Returns the state, the logs, float[epochs, steps], and the table's columns, float[epochs].
    Epochs after an END_FIT change nothing, and their rows repeat the last figures with `alive`
    False in their logs.

    Args:
        loop: what is trained; static under `jit`.
        state: one outside any fit.
        train: a pytree of arrays with a leading axis of examples.
        orders: int32[epochs, steps, B], rows of indices into `train`.
        valid: the validation set, a pytree like `train`; None for a fit without validation.
        valid_order: int32[valid_steps, B], rows of indices into `valid`.
        remat: for who differentiates the fit: whether epochs and their steps are computed once more
            then, so that a state is kept for each epoch, and of one epoch for each step.

    Raises:
        ValueError: as `compiled_epoch`.
    """
    check_order("compiled_fit", "orders", orders, train, axes="epochs, steps, B")
    state = open_fit(loop, state)

    def epoch(state: TrainState, order: jax.Array):
        data = train, order, valid, valid_order
        state, logs, row = compiled_epoch(loop, state, *data, remat=remat)
        return state, (logs, row)

    state, (logs, rows) = jax.lax.scan(_again_if(remat, epoch), state, orders)
    return close_fit(loop, state), logs, rows


def _again_if(remat: bool, body: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a scan, computed once more where its derivative is, if asked for."""
    return jax.checkpoint(body, prevent_cse=False) if remat else body


@checked
def population(
    loop: Loop, states: TrainState, *data: Any, how: str = "map"
) -> tuple[TrainState, dict[str, jax.Array], dict[str, jax.Array]]:
    """`compiled_fit` for many states at once: hyperparameters, seeds, or both.

        state_i', logs_i, rows_i = compiled_fit(loop, state_i, *data)        i = 0 ... n - 1

    Args:
        loop: what is trained; static under `jit`.
        states: a `TrainState` with a leading axis [n], as `jax.vmap` over `loop.init` and
            `set_hyperparams` makes it.
        data: `compiled_fit`'s further arguments, shared by all.
        how: "map" trains one after another in one program, with the bits of separate fits as far as
            the backend rounds alike (docs/exactness.md);
            "vmap" trains all side by side, which is quicker on accelerators and, on CPU, for small
            models; there it is several times slower for wide convolutions.

    Raises:
        ValueError: if `how` is neither.
    """
    check_how("population", how)
    return for_each(lambda state: compiled_fit(loop, state, *data), states, how=how)


def check_how(where: str, how: Any) -> None:
    """Require one of the ways in which many states are trained.

    Args:
        where: the function that was called.
        how: as for `population`.

    Raises:
        ValueError: if it is neither.
    """
    if how not in ("map", "vmap"):
        raise ValueError(f'{where}: `how` must be "map" or "vmap"; got {how!r}. Choose one.')


def for_each(run: Callable[[TrainState], Any], states: TrainState, *, how: str) -> Any:
    """`run` of each of many states, one after another or side by side.

    Args:
        run: function of one state.
        states: with a leading axis [n]; so has all that comes back.
        how: as for `population`.
    """
    return jax.lax.map(run, states) if how == "map" else jax.vmap(run)(states)
