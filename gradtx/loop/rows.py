"""A batch as rows of a data set that lies on the device."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradtx.core.examples import count_examples, has_rows
from gradtx.core.tree import PyTree


def take(data: PyTree, indices: jax.Array) -> PyTree:
    """The examples of `data` at `indices`.

        take(data, indices) = data[indices]        leaf by leaf

    Numbers, and arrays of another length than the examples (`gradtx.core.examples`), stay whole.

    Args:
        data: a pytree of arrays with a leading axis of examples.
        indices: int[B].
    """
    count = count_examples(data)
    # Of NumPy too: its arrays take no traced indices.
    return jax.tree.map(lambda x: jnp.asarray(x)[indices] if has_rows(x, count) else x, data)


def check_order(where: str, name: str, order: Any, data: PyTree, *, axes: str) -> None:
    """Require rows of indices into `data`, which JAX would move to the nearest one there is.

    Args:
        where: the function that was called.
        name: of its argument.
        order: what was given, or a sequence of such. Traced numbers have no values to look at.
        data: a pytree of arrays with a leading axis of examples.
        axes: the names of the axes that it must have, such as "steps, B".

    Raises:
        ValueError: if it has other axes, is of no integer type, or names an example that is not
            there.
    """
    if isinstance(order, list | tuple):
        for each in order:
            check_order(where, name, each, data, axes=axes.partition(", ")[2])
        return
    dtype, shape = jnp.result_type(order), np.shape(order)
    if len(shape) != len(axes.split(", ")) or not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(
            f"{where}: `{name}` must be int32[{axes}], rows of indices; got"
            f" {dtype.name}[{', '.join(map(str, shape))}]. Make an epoch's by epoch_order."
        )
    count = count_examples(data)
    far = isinstance(order, Tracer) or not getattr(order, "is_fully_addressable", True)
    if far or count is None or not np.size(order):
        return
    values = np.asarray(order)  # NumPy's, since jnp's are traced where something is
    low, high = int(values.min()), int(values.max())
    if low < -count or high >= count:
        raise ValueError(
            f"{where}: `{name}` must be indices of the {count} examples; got"
            f" {high if high >= count else low}. Make them of as many examples as the data has."
        )


def check_validation(where: str, valid: PyTree, order: Any) -> None:
    """Require a validation set with an order, or neither.

    Args:
        where: the function that was called.
        valid: the validation set, or None.
        order: `valid_order`: rows of indices into it, or None.

    Raises:
        ValueError: if one is alone, or the order has no batch, other axes, or examples that are
            not there.
    """
    if (valid is None) != (order is None):
        given = "valid_order" if valid is None else "valid"
        raise ValueError(
            f"{where}: `valid` and `valid_order` go together; got `{given}` alone. Pass both, for"
            " example from gradtx.tuning.padded_order."
        )
    if order is None:
        return
    if not len(order):
        raise ValueError(
            f"{where}: `valid_order` must have one batch at least; got none. Pass None for both if"
            " there is no validation set."
        )
    check_order(where, "valid_order", order, valid, axes="valid_steps, B")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Rows:
    """A batch that is still to be gathered, which the step does first.

        batch = take(data, indices), with the entries of `extra` beside

    `data` is an argument of the step's program, the same one at every step: only `indices` and
    `extra` travel. On a mesh, put `data` on every device and `indices` where batches lie; each
    device then gathers its own part.

    Args:
        data: a dict of arrays with a leading axis of examples, the same object in all batches.
        indices: int32[B], which examples.
        extra: entries of this batch alone, each with a leading axis [B], such as "weight".
    """

    data: PyTree
    indices: jax.Array
    extra: dict[str, Any] = field(default_factory=dict)

    def gather(self) -> dict[str, Any]:
        """The batch itself."""
        return {**take(self.data, self.indices), **self.extra}


def gathered(batch: PyTree) -> PyTree:
    """`batch`, gathered if it is `Rows`.

    Args:
        batch: a batch of any kind.
    """
    return batch.gather() if isinstance(batch, Rows) else batch
