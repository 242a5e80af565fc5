"""The hyperparameters as a rule sees them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax


class Values:
    """The `h` that a rule is given: values by name. Asked for another, it says what it has.

    Beside the hyperparameters, which are None where they were left out, it has `count`, int32[]:
    updates made so far, and `step`, the same plus one as a float.
    """

    def __init__(self, where: str, values: Mapping[str, Any], count: jax.Array, dtype: Any = None):
        """Keep the values, in `dtype` if it is given."""
        own = self.__dict__
        own.update(values)
        if dtype is not None:
            own.update({k: x if x is None else x.astype(dtype) for k, x in values.items()})
        own["count"], own["_where"], own["_dtype"] = count, where, dtype

    def __getattr__(self, key: str) -> Any:
        """`step`, made when it is asked for; an error for any other name that is not there."""
        if key == "step":
            count: Any = optax.safe_increment(self.count)
            self.__dict__[key] = count.astype(self._dtype or jnp.result_type(float))
            return self.__dict__[key]
        if key.startswith("_"):  # what copying looks for
            raise AttributeError(key)
        names = [name for name in (*vars(self), "step") if not name.startswith("_")]
        raise AttributeError(
            f"{self._where}: `h` must be asked for what it has; got `h.{key}`. Use one of:"
            f" {', '.join(names)}; hyperparameters are given as NAME=(value, Interval(...))."
        )
