"""The hyperparameters as a rule sees them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

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

    def together(self) -> "Values":
        """The same, as the loops over many leaves should read them: on a GPU from one array.

        There a kernel for each leaf takes two microseconds to start, however small it is, and XLA
        makes one kernel of several loops if their arrays have one shape and they read one more
        array, not a scalar, together. AdamW over ResNet-34's 110 leaves is then 28 kernels and not
        115. On other platforms XLA takes the array apart again, so that nothing changes; which one
        it is depends on what a program is lowered for, not on where it is traced.
        """
        named = {name: getattr(self, name) for name in self._names}
        found, structure = jax.tree.flatten((named, self.step))
        kinds = [jax.typeof(x) for x in found]
        for kind in dict.fromkeys([kind for kind in kinds if not kind.shape]):
            places = [i for i, other in enumerate(kinds) if other == kind]
            # Without the barrier XLA would read each from where it came from.
            array = jax.lax.platform_dependent(
                jnp.stack([found[i] for i in places]),
                cuda=jax.lax.optimization_barrier,
                rocm=jax.lax.optimization_barrier,
                default=jnp.asarray,
            )
            for k, i in enumerate(places):
                found[i] = array[k]
        values, step = structure.unflatten(found)
        return Values(self._where, values, self.count, step)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):  # what copying looks for
            raise AttributeError(key)
        raise AttributeError(
            f"{self._where}: `h` must be asked for what it has; got `h.{key}`. Use one of:"
            f" {', '.join((*self._names, *RESERVED))}; hyperparameters are given as NAME=(value,"
            " Interval(...))."
        )
