"""What a metric is: a state, and functions that begin it, add a batch to it and tell its value."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.core.tree import PyTree
from gradtx.kinds import checked
from gradtx.loop.calling import with_label
from gradtx.loop.copies import Alike
from gradtx.loop.form import spec
from gradtx.loop.weights import check_values, total_weight, weight_of, weighted_sum


@checked
@dataclass(frozen=True)
class Metric:
    """A metric that is gathered batch by batch: three pure functions.

        state = init()
        state = update(state, pred, batch, weight)        for each batch
        value = compute(state)

    The state is a pytree of arrays whose structure, shapes and dtypes stay; it is part of the
    training state. The value is a number or an array of numbers; NaN where it is not defined. What
    the examples of weight 0 hold must not count, for it may be anything.

    An `update` that has a parameter `label` is given `Loop(label=...)`.

    >>> def update(state, pred, batch, weight):
    ...     return jnp.maximum(state, jnp.max(jnp.where(weight > 0, pred, -jnp.inf)))
    >>> largest = Metric(lambda: jnp.float32(-jnp.inf), update, lambda state: state)
    >>> float(largest.compute(largest.update(largest.init(), jnp.arange(3.0), {}, jnp.ones(3))))
    2.0

    Args:
        init: a function of nothing; the state before any batch.
        update: a function of the state, the prediction, the batch and float32[B], what each example
            counts for; the state after it.
        compute: a function of the state; the value, float[...]. It is told apart from others by
            what it does, so it should be a function of a module or a factory.
    """

    init: Callable[[], PyTree]
    update: Callable[..., PyTree]
    compute: Callable[[PyTree], Any]

    def at(self, select: Callable[[Any], Any]) -> "Metric":
        """The same metric of a part of the prediction.

            update'(state, pred, batch, weight) = update(state, select(pred), batch, weight)

        Args:
            select: function of the model's prediction, such as `lambda pred: pred.logits`.
        """
        inner = self.update

        def update(state: PyTree, pred: Any, batch: Any, weight: Any = None, *, label: Any = None):
            return with_label(inner, label)(state, select(pred), batch, weight)

        return replace(self, update=update)


@partial(jax.tree_util.register_dataclass, data_fields=["state"], meta_fields=["tell"])
@dataclass(frozen=True)
class Running:
    """A metric under way, as the training state holds it.

    Args:
        state: the metric's.
        tell: its `compute`; part of the structure.
    """

    state: PyTree
    tell: Alike

    @property
    def value(self) -> jax.Array:
        """float32[...]: what it has come to."""
        return jnp.asarray(self.tell.function(self.state)).astype(jnp.float32)


class Mean(NamedTuple):
    """The state of a weighted mean.

    Args:
        total: float32[], the sum of weight times value.
        weight: float32[], the sum of these weights.
    """

    total: jax.Array
    weight: jax.Array


def no_mean() -> Mean:
    """The state of a mean before any batch."""
    return Mean(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))


def add_values(
    state: Mean, values: jax.Array, counts: jax.Array | None, weight: jax.Array | None
) -> Mean:
    """Add the values of a batch's examples.

        total' = total + sum(weight values)        weight' = weight + sum(weight counts)

    Args:
        state: the mean so far.
        values: a number for each example, or the sum of several.
        counts: how many each is the sum of; None: 1.
        weight: float[B], what each example counts for; None: 1.
    """
    if counts is None:
        more = total_weight(weight, len(values))
    else:
        more = weighted_sum(counts.astype(jnp.float32), weight)
    total = state.total + weighted_sum(values.astype(jnp.float32), weight)
    return Mean(total, state.weight + more)


def mean_value(state: Mean) -> jax.Array:
    """The mean, float32[]; NaN where nothing has counted.

    Args:
        state: of the mean.
    """
    some = state.weight > 0
    return jnp.where(some, state.total / jnp.where(some, state.weight, 1), jnp.nan)


def mean_of(function: Callable[..., Any], *, what: str = "function") -> Metric:
    """The metric that is the weighted mean of a value for each example.

        value = sum(weight function(pred, batch)) / sum(weight)

    >>> error = mean_of(lambda pred, batch: jnp.abs(pred - batch["y"]))
    >>> state = error.update(error.init(), jnp.array([1.0, 4.0]), {"y": jnp.zeros(2)})
    >>> float(error.compute(state))
    2.5

    Args:
        function: of the prediction and the batch, to float[B]; or to a pair of float[B], sums and
            how many terms each has, as of the words of a sentence: sum(weight sums) / sum(weight
            counts).
        what: who it is, for messages.
    """

    def update(state: Mean, pred: Any, batch: Any, weight: Any = None, *, label: Any = None):
        values, counts = per_example(what, with_label(function, label)(pred, batch))
        if weight is None:
            weight = weight_of(batch)
        count = None if weight is None else len(weight)
        for each in (values,) if counts is None else (values, counts):
            check_values(f"`{what.removeprefix('Loop.')}`", each, count, batch)
        return add_values(state, values, counts, weight)

    return Metric(no_mean, update, mean_value)


def per_example(what: str, out: Any) -> tuple[jax.Array, jax.Array | None]:
    """The values of a batch's examples, and how many terms each is the sum of, if that is said.

    Args:
        what: whose they are, for the message.
        out: what a loss or a metric has returned.

    Raises:
        TypeError: if it is neither an array nor a pair of them.
    """
    parts: Any = out if isinstance(out, tuple) and len(out) == 2 else (out,)
    if not all(hasattr(x, "dtype") and hasattr(x, "ndim") for x in parts):
        raise TypeError(
            f"{what}: must return an array, one value for each example; got {spec(out)}. Return"
            " that alone, or a pair of sums and counts."
        )
    return parts[0], parts[1] if len(parts) == 2 else None


def as_metric(metric: Any, what: str) -> Metric:
    """A `Metric` as it is; of a function (pred, batch) -> float[B] its weighted mean.

    Args:
        metric: either.
        what: who it is, for messages.
    """
    return metric if isinstance(metric, Metric) else mean_of(metric, what=what)
