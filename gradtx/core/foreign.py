"""Batches and loaders of other libraries."""

from collections.abc import Mapping
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

OURS = (jax.Array, np.ndarray, np.generic, Number)


def as_arrays(batch: Any) -> Any:
    """A batch in which every array of another library, such as PyTorch's, is one of NumPy.

    Such an array is told by what it can do, and no library is imported. A mapping that JAX takes
    for a leaf becomes a dict.

    Args:
        batch: any pytree.
    """
    if isinstance(batch, Mapping) and jax.tree_util.all_leaves([batch]):
        batch = dict(batch)
    foreign = lambda x: not isinstance(x, OURS) and hasattr(x, "__array__")
    if not any(map(foreign, jax.tree.leaves(batch))):
        return batch
    return jax.tree.map(lambda x: _on_host(x) if foreign(x) else x, batch)


def _on_host(array: Any) -> Any:
    for step in ("detach", "cpu"):  # PyTorch's words
        array = getattr(array, step, lambda array=array: array)()
    try:
        return np.asarray(array)
    except TypeError:  # of a dtype that NumPy lacks, such as bfloat16
        return jnp.from_dlpack(array)


def close(batches: Any) -> None:
    """Let a source of batches end what it has begun, such as its threads.

    Args:
        batches: anything; what can't be closed stays as it is.
    """
    if hasattr(batches, "close"):
        batches.close()
