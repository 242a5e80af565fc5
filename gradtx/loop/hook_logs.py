"""What hooks add to the log of a step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from gradtx.loop.form import spec
from gradtx.loop.hook import Hook
from gradtx.loop.naming import named
from gradtx.loop.sampling import SAMPLED, hook_samples
from gradtx.loop.state import PyTree

ENTRIES = (
    "kind",
    "step",
    "epoch",
    "loss",
    "train_loss",
    "requested",
    "alive",
    "known",
    "digest",
    SAMPLED,
)
MOST_LOGGED = 4096  # numbers of an entry: logs of every step travel to the host


def hook_logs(
    hooks: Sequence[Hook], states: Mapping[str, PyTree], used: Iterable[str]
) -> dict[str, Any]:
    """What hooks add to a step's log, beside its own entries and the hyperparameters `used`.

    Args:
        hooks: in the order in which they run.
        states: of each hook, by its name.
        used: the names of the hyperparameters.

    Raises:
        ValueError: if a name is taken.
    """
    log: dict[str, Any] = {}
    for hook in hooks:
        with named(f"Hook {hook.name!r}.log"):
            more = hook.log(states[hook.name])
        _check_log(hook, more)
        if taken := sorted(more.keys() & {*ENTRIES, *used, *log}):
            raise ValueError(
                f"Hook {hook.name!r}: `log` must have names of its own; got {taken[0]!r}, which is"
                " taken. Give the entry another name."
            )
        log |= more
    return log | hook_samples(hooks, states, {*ENTRIES, *used, *log})


def _check_log(hook: Hook, log: Any) -> None:
    """Require numbers and arrays by name, or dicts of them, as hyperparameters by group are."""
    wrong = [*_wrong_entries(log)] if isinstance(log, Mapping) else [spec(log)]
    if wrong:
        raise ValueError(
            f"Hook {hook.name!r}.log: must return a dict of scalars or of arrays of up to"
            f" {MOST_LOGGED:,} real numbers by name; got {wrong[0]}. Give each number an entry, or"
            " log a mean."
        )


def _wrong_entries(log: Mapping[str, Any], group: str = "") -> Iterator[str]:
    """What is neither a number nor an array that can be written, with its name."""
    for name, value in log.items():
        if not isinstance(name, str):
            yield f"the name {name!r}"
        elif isinstance(value, Mapping) and not group:
            yield from _wrong_entries(value, f"{name}/")
        elif not _is_real(value) or getattr(value, "size", 1) > MOST_LOGGED:
            yield f"{spec(value)} under {group + name!r}"


def _is_real(value: Any) -> bool:
    kinds = (jnp.bool_, jnp.integer, jnp.floating)
    dtype: Any = getattr(value, "dtype", bool if isinstance(value, float | int) else object)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)
