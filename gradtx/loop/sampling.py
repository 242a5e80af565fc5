"""What hooks log sometimes: values that only some steps have.

On the device they are one vector for each dtype, however many they are: bringing hundreds of
scalars to the host one by one would take longer than many a step. The host gives them their names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.loop.form import spec
from gradtx.loop.hook import Hook
from gradtx.loop.naming import named
from gradtx.loop.state import PyTree, TrainState

SAMPLED = "sampled"


def hook_samples(
    hooks: Sequence[Hook], states: Mapping[str, PyTree], names: set[str]
) -> dict[str, Any]:
    """What goes into a step's log of what hooks log sometimes; {} if none does.

    {"sampled": {hook: {"taken": bool[], "values": {dtype: [k]}}}}

    Args:
        hooks: of a loop.
        states: of the hooks, by name.
        names: that other entries of the log have.

    Raises:
        ValueError: if a hook returns something else than (bool[], arrays by name), or a name is
            taken.
    """
    found, names = {}, set(names)
    for hook in hooks:
        if hook.sampled is not None:
            with named(f"Hook {hook.name!r}.sampled"):
                out = hook.sampled(states[hook.name])
            taken, values = _checked(hook, out, names)
            names |= _names(values)
            found[hook.name] = {"taken": taken, "values": _packed(_rows(values))}
    return {SAMPLED: found} if found else {}


def _checked(hook: Hook, out: Any, names: set[str]) -> tuple[Any, Mapping[str, Any]]:
    is_array = lambda x: hasattr(x, "dtype") or isinstance(x, float | int)
    pair = isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Mapping)
    if not pair or jnp.shape(out[0]) or not all(map(is_array, out[1].values())):
        raise ValueError(
            f"Hook {hook.name!r}.sampled: must return (bool[], a dict of arrays by name); got"
            f" {spec(out)}. Say with the bool whether this step has the values."
        )
    if both := sorted(_names(out[1]) & names):
        raise ValueError(
            f"Hook {hook.name!r}: `sampled` must have names of its own; got {both[0]!r}, which is"
            " taken. Give the entry another name."
        )
    return jnp.asarray(out[0], bool), out[1]


def _names(values: Mapping[Any, Any]) -> set[str]:
    return {name for key in values for name in (key if isinstance(key, tuple) else (key,))}


def _rows(values: Mapping[Any, Any]) -> dict[tuple[str, ...], Any]:
    """Each array with the names of its rows."""
    rows = lambda key, x: (key, x) if isinstance(key, tuple) else ((key,), jnp.asarray(x)[None])
    return dict(rows(key, x) for key, x in values.items())


def _packed(values: Mapping[tuple[str, ...], Any]) -> dict[str, jax.Array]:
    """The values end to end, those of one dtype together, in the order of their names."""
    vectors: dict[str, list[jax.Array]] = {}
    for name in sorted(values):
        x = jnp.asarray(values[name])
        vectors.setdefault(str(x.dtype), []).append(x.ravel())
    return {dtype: jnp.concatenate(parts) for dtype, parts in vectors.items()}


@dataclass(frozen=True)
class Samples:
    """How the host reads what hooks log sometimes.

    Args:
        forms: by the hook's name, the forms of its arrays, by the names of their rows.
    """

    forms: Mapping[str, Mapping[tuple[str, ...], Any]]

    @staticmethod
    def of(loop: Any, state: TrainState) -> "Samples":
        """For the logs of steps of `loop`.

        Args:
            loop: what is trained.
            state: one of it.
        """
        rows = lambda hook: lambda own: _rows(hook.sampled(own)[1])
        ask = lambda hook: jax.eval_shape(rows(hook), state.hooks[hook.name])
        return Samples({hook.name: ask(hook) for hook in loop.hooks if hook.sampled is not None})

    def of_steps(self, sampled: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
        """For each of `count` steps its values by name; {} for one that has none.

        Args:
            sampled: of the logs of the steps, on the host, with a leading axis.
            count: how many of them.
        """
        found: list[dict[str, Any]] = [{} for _ in range(count)]
        for name, form in self.forms.items():
            taken, values = sampled[name]["taken"][:count], sampled[name]["values"]
            for i in np.flatnonzero(taken):
                found[i] |= _unpacked(form, {dtype: vector[i] for dtype, vector in values.items()})
        return found

    def columns(
        self, sampled: Mapping[str, Any], *, scalars: bool = False
    ) -> dict[str, np.ndarray]:
        """By name the values of all steps, NaN where none was taken; with the logs' leading axes.

        Args:
            sampled: of the logs of steps, on the host.
            scalars: whether those of scalars are enough.
        """
        found: dict[str, np.ndarray] = {}
        for hook, form in self.forms.items():
            taken = np.asarray(sampled[hook]["taken"])
            for name, values in _unpacked(form, sampled[hook]["values"]).items():
                if not (scalars and values.ndim > taken.ndim):
                    there = taken.reshape(taken.shape + (1,) * (values.ndim - taken.ndim))
                    found[name] = np.where(there, values, np.nan)
        return found


def _unpacked(form: Mapping[tuple, Any], vectors: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_packed`; the vectors may have more axes before their last."""
    at = dict.fromkeys(vectors, 0)
    found = {}
    for names in sorted(form):
        dtype, shape = str(form[names].dtype), form[names].shape
        size, vector = int(np.prod(shape)), vectors[dtype]
        part = vector[..., at[dtype] : at[dtype] + size]
        rows = part.reshape(*part.shape[:-1], *shape)
        axis = part.ndim - 1
        found |= {name: rows.take(i, axis) for i, name in enumerate(names)}
        at[dtype] += size
    return found


def without_samples(log: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """(the log of each step, what is logged sometimes or {}).

    Args:
        log: of steps.
    """
    rest = {name: value for name, value in log.items() if name != SAMPLED}
    return rest, log.get(SAMPLED, {})


def sampled(loop: Any, state: TrainState, logs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What hooks logged sometimes in a compiled fit, by name; NaN at the steps without.

    `fit` does the same by itself, for its history and its observers.

    Args:
        loop: what was trained.
        state: one of it.
        logs: of `compiled_fit` or `compiled_epoch`, or a step's, with the leading axes they have.
    """
    return Samples.of(loop, state).columns(jax.tree.map(np.asarray, without_samples(logs)[1]))
