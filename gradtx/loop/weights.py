"""What each example of a batch counts for: the one place where losses and metrics are weighted."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.examples import count_examples, has_rows
from gradtx.core.tree import PyTree


def has_weights(batch: Any) -> bool:
    """Whether a batch is a dict with an entry "weight".

    Args:
        batch: a batch.
    """
    return isinstance(batch, Mapping) and batch.get("weight") is not None


def weight_of(batch: Any, count: int | None = None) -> jax.Array | None:
    """The weights of a batch's examples, float[n] or another number's dtype; None if it has none.

    Args:
        batch: a batch; only a dict with an entry "weight" has weights.
        count: n, if it is known.

    Raises:
        ValueError: unless there is one weight for each example.
    """
    if not has_weights(batch):
        return None
    weight = jnp.asarray(batch["weight"])
    if weight.ndim != 1 or (count is not None and len(weight) != count):
        wanted = "n" if count is None else count
        raise ValueError(
            f'Loop: batch["weight"] must be float[{wanted}], one weight for each example; got shape'
            f" {weight.shape}. Reshape it."
        )
    return weight


def check_values(what: str, values: jax.Array, count: int | None, batch: Any = None) -> None:
    """Require one value for each example, not one for the batch, nor a column of them.

    Args:
        what: who made them, for the message.
        values: the losses or the metric of a batch.
        count: the number of its examples, if it is known.
        batch: the batch, whose weights are at fault if all else has as many rows as `values`.

    Raises:
        ValueError: if they have another shape, or the weights have.
    """
    if 0 in (count, jnp.size(values)):
        raise ValueError(
            "Loop: a batch must have one example at least; got none. Leave empty batches out."
        )
    if jnp.ndim(values) != 1 or (count is not None and len(values) != count):
        rest = {k: x for k, x in batch.items() if k != "weight"} if has_weights(batch) else None
        if jnp.ndim(values) == 1 and count_examples(rest) == len(values):
            weight_of(batch, len(values))  # which says so
        wanted = "" if count is None else f" of {count}"
        raise ValueError(
            "Loop: `loss` and metrics must return one value for each example, a vector"
            f"{wanted}; {what} got shape {jnp.shape(values)}. Take means over the other axes, and"
            " leave the batch's to the loop; if the batch has another number of examples, name the"
            " entry that has one value for each by Loop(examples=...)."
        )


def total_weight(weight: jax.Array | None, count: int) -> jax.Array:
    """float32[]: what a batch counts for.

        total = sum(weight), or the number of examples without weights

    Args:
        weight: as `weight_of` returns it.
        count: the number of examples.
    """
    if weight is None:
        return jnp.full((), count, jnp.float32)
    return jnp.sum(weight.astype(jnp.float32))


def as_weights(weight: jax.Array | None, count: int) -> jax.Array:
    """float32[count]: what each example counts for; 1 without weights.

    Args:
        weight: as `weight_of` returns it.
        count: the number of examples.

    Raises:
        ValueError: unless there is one for each.
    """
    if weight is None:
        return jnp.ones(count, jnp.float32)
    weight = jnp.asarray(weight, jnp.float32)
    if weight.shape != (count,):
        raise ValueError(
            f"Metric.update: `weight` must be float[{count}], one weight for each example; got"
            f" shape {weight.shape}. Leave it out, or pass as many as there are labels."
        )
    return weight


def weighted_sum(values: jax.Array, weight: jax.Array | None) -> jax.Array:
    """The weighted sum of a value for each example; one of weight 0 counts for nothing.

        sum over i with weight_i != 0 of weight_i values_i

    So a NaN or an infinity there is in neither the sum nor its derivative by `values`.

    Args:
        values: float[n].
        weight: as `weight_of` returns it.
    """
    if weight is None:
        return jnp.sum(values)
    return jnp.sum(weight.astype(values.dtype) * jnp.where(weight != 0, values, 0))


def without_gaps(batch: PyTree, weight: jax.Array | None) -> PyTree:
    """`batch` with 0 for what is not finite in an example of weight 0.

    Else 0 * NaN in the model's derivative would be NaN, in spite of the weight.

    Args:
        batch: a pytree of arrays; those of n rows are looked at.
        weight: as `weight_of` returns it, of n examples.
    """
    if weight is None:
        return batch

    def fill(x: Any) -> Any:
        if not has_rows(x, len(weight)) or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            return x
        idle = jnp.expand_dims(weight == 0, range(1, jnp.ndim(x)))
        return jnp.where(idle & ~jnp.isfinite(x), jnp.zeros((), jnp.result_type(x)), x)

    return jax.tree.map(fill, batch)


def batch_weight(batch: Any, examples: str | None = None) -> jax.Array:
    """float32[]: what a batch counts for, the sum of its weights or its number of examples.

    Args:
        batch: a batch.
        examples: the entry that says how many examples there are, as `Loop` is told it.

    Raises:
        ValueError: if the batch does not say how many examples it has.
    """
    count = count_examples(batch, examples)
    weight = weight_of(batch, count)
    if count is None:
        raise ValueError(
            "batch_weight: a batch must say how many examples it has; got arrays of different"
            ' lengths, and neither "weight" nor "label". Name an entry that has one value for each'
            " example by Loop(examples=...)."
        )
    return total_weight(weight, count)
