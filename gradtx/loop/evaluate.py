"""The validation of a fit, by itself: what a state is worth on a set of batches."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.foreign import close
from gradtx.kinds import checked
from gradtx.loop.arguments import check_evaluated
from gradtx.loop.begin import Peeked, check_batch, check_forms
from gradtx.loop.execution import Execution
from gradtx.loop.history import with_nan
from gradtx.loop.jitted import epoch_row, prepare
from gradtx.loop.loop import Loop
from gradtx.loop.measured import begin_metrics
from gradtx.loop.phases import Level
from gradtx.loop.reading import read
from gradtx.loop.sources import of_validation
from gradtx.loop.state import TrainState


@checked
def evaluate(
    loop: Loop, state: TrainState, batches: Iterable[Any] | Callable[[], Iterable[Any]]
) -> dict[str, Any]:
    """The loss and the metrics of a state over batches, as `fit` validates with them.

        {"valid_loss": sum(weight loss) / sum(weight), name: metric, ...}    over all examples

    The figures of `History.rows` if `fit` had validated with these batches now, by the same
    programs: the model in its mode of evaluation, at `loop.evaluated_params(state)`; batches
    prepared without a key; the hooks' events of a validation, up to its last batch. Nothing of it
    is left: the state stays as it is, hooks' states too. A metric that is an array is a list. What
    has no value, as where all weights are 0, is NaN.

    >>> import gradtx
    >>> apply = lambda params, model_state, batch, *, key, training: (params["w"], model_state)
    >>> loop = Loop(apply, lambda pred, batch: (pred - batch["y"]) ** 2, gradtx.sgd(0.1))
    >>> evaluate(loop, loop.init({"w": jnp.zeros(())}), [{"y": jnp.array([1.0, 3.0])}])
    {'valid_loss': 5.0}

    Args:
        loop: of the state; its metrics may be others than those that the state was trained with.
        state: one of it, before, in or after a fit.
        batches: a list, a loader, a generator, or a function () that gives them; read once.

    Raises:
        TypeError: if an argument is of the wrong kind, or a batch holds what is no number.
        ValueError: if there are no batches, or a function of the loop raises or returns what it
            must not.
    """
    check_evaluated(batches)
    fresh = begin_metrics(loop.metrics, loop.train_metrics)
    old = state.metrics
    # A validation is within an epoch. Training that is under way ends there for it, and one that
    # validates already has had its `before_validate`.
    state = state.replace(
        level=jnp.int32(max(int(read(state.level)), Level.EPOCH)),
        requested=jnp.int32(0),
        metrics=replace(fresh, average=old.average, count=old.count),
    )
    run, state = prepare(loop, state)
    given = Peeked(of_validation(batches, "evaluate: `batches`"))
    try:
        if given.first is None:
            raise ValueError(
                "evaluate: `batches` must give batches; got none. Check that the data set has an"
                " example, and that an iterator was not read before."
            )
        check_batch("evaluate", "batches", given.first)
        parts = {
            "close_train": lambda: run.close_train.eval_shape(state, validate=True),
            "eval_step": lambda: run.eval_step.eval_shape(state, given.first),
        }
        check_forms("evaluate", state, parts)
        opened = run.close_train(jax.tree.map(jnp.copy, state), validate=True)
        row = epoch_row(Execution(run, loop, "auto").validate(opened, given))
    finally:
        close(given)
    figures = with_nan(read(row))
    return {name: figures[name].tolist() for name in ("valid_loss", *loop.metrics)}
