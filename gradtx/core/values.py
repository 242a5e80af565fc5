"""The hyperparameters as a rule sees them."""

from collections.abc import Mapping
from typing import Any

import jax

RESERVED = ("count", "step")  # what `h` has beside the hyperparameters


class Values:
    """The `h` that a rule is given: values by name. Asked for another, it says what it has.

    Beside the hyperparameters, which are None where they were left out, it has `count`, int32[]:
    updates made so far, and `step`, the same plus one as a float.
    """

    def __init__(self, where: str, values: Mapping[str, Any], count: jax.Array, step: jax.Array):
        """Keep the values as attributes, and by what name messages call the transformation."""
        self.__dict__.update(values, count=count, step=step)
        self.__dict__.update(_where=where, _names=tuple(values))

    def for_leaf(self, dtype: Any, groups: Mapping[str, Any]) -> "Values":
        """The same in the dtype of a leaf, of hyperparameters by group those of its group."""
        values = {name: getattr(self, name) for name in self._names}
        values |= {name: values[name][group] for name, group in groups.items()}
        cast = {name: x if x is None else x.astype(dtype) for name, x in values.items()}
        return Values(self._where, cast, self.count, self.step.astype(dtype))

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):  # what copying looks for
            raise AttributeError(key)
        raise AttributeError(
            f"{self._where}: `h` must be asked for what it has; got `h.{key}`. Use one of:"
            f" {', '.join((*self._names, *RESERVED))}; hyperparameters are given as NAME=(value,"
            " Interval(...))."
        )
