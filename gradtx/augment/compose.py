"""Augmentations one after another."""

from collections.abc import Callable
from typing import Any

import jax

from gradtx.augment.examples import Batch, Prepare
from gradtx.kinds import checked


@checked
def compose(*functions: Callable[[Any, Any], Any]) -> Prepare:
    """One augmentation of several, each with random numbers of its own.

        batch' = f_n(... f_1(batch, key_1) ..., key_n)        key_i = fold_in(key, i)

    Without a key each gets none.

    >>> compose()({"label": 1}, None)
    {'label': 1}

    Args:
        *functions: each (batch, key) -> batch, in the order in which they act.
    """

    def prepare(batch: Batch, key: jax.Array | None) -> Batch:
        for i, function in enumerate(functions):
            batch = function(batch, None if key is None else jax.random.fold_in(key, i))
        return batch

    return prepare
