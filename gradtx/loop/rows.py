"""A batch as rows of a data set that lies on the device."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.examples import count_examples, has_rows

PyTree = Any


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
