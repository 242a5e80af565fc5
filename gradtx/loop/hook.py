"""Hooks, and the order in which they run."""

import itertools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradtx.kinds import check_kind, is_array
from gradtx.loop.events import EVENTS
from gradtx.loop.signature import check_signature


@dataclass(frozen=True)
class Hook:
    """A part of the training loop: pure functions called at its events.

        hook_state = init(train_state)        hook_state', context' = on[event](hook_state, context)

    `context` is what the event can see and change (`gradtx.loop.StepContext`); change it with
    `context.replace(...)`. All that the hook remembers is its state, a pytree whose structure,
    shapes and dtypes never change.

    What others may want to know of it, it says by `log`, `sampled`, `faults`, `failed` and
    `reason`, functions of its state. `failed` must work elementwise, also for states with a leading
    axis, as those of a population; `faults` and `reason` are asked for single states, on the host.

    Args:
        name: of its own among the hooks of a loop; its state is `train_state.hooks[name]`.
        on: event -> function (hook_state, context) -> (hook_state, context).
        init: function of the training state; the hook's first state.
        run_before: names of hooks that this one runs before; absent ones are ignored.
        run_after: names of hooks that this one runs after; absent ones are ignored.
        log: function of the state after a training batch; for the steps' log, by name: scalars, or
            arrays of up to 4,096 real numbers, such as counts.
        per_epoch: whether it judges whole epochs; a search over single steps leaves it out.
        watches: the column of the epoch table that it judges; a fit must have it. None for none.
        faults: function of the state; counts of what went wrong, int32[] by kind.
        failed: function of the state; bool[], whether the hook has given the fit up.
        reason: function of the state of a fit that it gave up; why, in words.
        sampled: what only some steps' logs have: function of the state after a training batch to
            (bool[], values by name), scalars or arrays; a tuple of names has the rows of an array.
            A step has them where the bool holds.
        requests: whether it may ask for something, by `context.request`. With hooks alone that
            never do, the step is compiled as without hooks: it selects and copies nothing.

    Raises:
        TypeError: if `on` is no dict of functions, or another function is none.
        ValueError: if `on` has an event that does not exist.
    """

    name: str
    on: Mapping[str, Callable[[Any, Any], tuple[Any, Any]]]
    init: Callable[[Any], Any] = field(default=lambda state: ())
    run_before: Sequence[str] = ()
    run_after: Sequence[str] = ()
    log: Callable[[Any], Mapping[str, Any]] = field(default=lambda state: {})
    per_epoch: bool = False
    watches: str | None = None
    faults: Callable[[Any], Mapping[str, Any]] = field(default=lambda state: {})
    failed: Callable[[Any], Any] = field(default=lambda state: False)
    reason: Callable[[Any], str] = field(default=lambda state: "")
    sampled: Callable[[Any], tuple[Any, Mapping[str, Any]]] | None = None
    requests: bool = True

    def __post_init__(self) -> None:
        check_kind("Hook", "name", str, self.name)
        where = f"Hook {self.name!r}"
        check_kind(where, "requests", bool, self.requests, True)
        check_kind(where, "per_epoch", bool, self.per_epoch, False)
        check_kind(where, "watches", str | None, self.watches, None)
        for constraint in ("run_before", "run_after"):
            check_kind(where, constraint, str | Iterable[str], getattr(self, constraint), ())
        if not isinstance(self.on, Mapping):
            raise TypeError(
                f"{where}: `on` must be a dict, event -> function; got {self.on!r}. Pass"
                " for example {'after_loss': lambda state, context: (state, context)}."
            )
        for event, function in self.on.items():
            if event not in EVENTS:
                raise ValueError(
                    f"{where}: `on` must have events of the loop; got {event!r}. Use one"
                    f" of: {', '.join(EVENTS)}."
                )
            if not callable(function):
                raise TypeError(
                    f"{where}: `on[{event!r}]` must be a function (hook_state, context) ->"
                    f" (hook_state, context); got {function!r}. Pass the function."
                )
            form = "(hook_state, context)"
            check_signature(f"{where}: `on[{event!r}]`", function, form, 0, 0)
        sometimes = () if self.sampled is None else ("sampled",)
        for name in ("init", "log", *sometimes, "faults", "failed", "reason"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"{where}: `{name}` must be a function of the state; got"
                    f" {getattr(self, name)!r}. Leave it out if there is nothing to do."
                )
            check_signature(f"{where}: `{name}`", getattr(self, name), "the state", 0)
        for constraint in ("run_before", "run_after"):
            names = getattr(self, constraint)
            names = (names,) if isinstance(names, str) else tuple(names)
            object.__setattr__(self, constraint, names)

    @property
    def seed(self) -> int:
        """What tells this hook's random keys from another's, wherever it stands in the list."""
        return zlib.crc32(self.name.encode()) & 0x7FFFFFFF


def compose(hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """Put hooks into the order in which they run at every event.

        repeat: of the hooks whose predecessors have all been taken, take the first in the list

    a is a predecessor of b if a names b in `run_before` or b names a in `run_after`. So the last of
    the list runs last unless a hook asks to run after it.

    >>> a, b = Hook("a", {}, run_after=["b"]), Hook("b", {})
    >>> [hook.name for hook in compose([a, b])]
    ['b', 'a']

    Args:
        hooks: in any order.

    Raises:
        TypeError: if `hooks` is no list, or an entry no `Hook`.
        ValueError: if two hooks share a name, or no order exists; names the cycle.
    """
    if not isinstance(hooks, Iterable) or is_array(hooks):
        raise TypeError(f"compose: hooks must be a list of Hooks; got {hooks!r}. Write [hook].")
    hooks = tuple(hooks)  # an iterator can be read only once
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise TypeError(
                f"compose: every entry must be a Hook; got {hook!r}. Call the factory:"
                " terminate_on_nan(), not terminate_on_nan."
            )
    names = [hook.name for hook in hooks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"compose: hooks must have different names; got {name!r} twice. Drop one, or give"
                " it another name."
            )
    waiting = {hook.name: _predecessors(hook, hooks) for hook in hooks}
    by_name = {hook.name: hook for hook in hooks}
    order: list[Hook] = []
    while waiting:
        ready = [name for name, before in waiting.items() if not (before.keys() & waiting.keys())]
        if not ready:
            raise ValueError(f"compose: hooks cannot be ordered: {_cycle(waiting)}.")
        del waiting[ready[0]]
        order.append(by_name[ready[0]])
    return tuple(order)


def _predecessors(hook: Hook, hooks: Sequence[Hook]) -> dict[str, str]:
    """Names of the hooks that must run before `hook`, each with the constraint that says so."""
    out = {}
    for other in hooks:
        if other.name in hook.run_after:
            out[other.name] = f"{hook.name}.run_after"
        elif hook.name in other.run_before:
            out[other.name] = f"{other.name}.run_before"
    return out


def _cycle(waiting: Mapping[str, Mapping[str, str]]) -> str:
    """One cycle among the hooks that wait for each other, in words."""
    path = [next(iter(waiting))]
    while True:
        before = next(name for name in waiting[path[-1]] if name in waiting)
        if before in path:
            loop = [*path[path.index(before) :], before][::-1]
            break
        path.append(before)
    steps = [f'"{a}" runs before "{b}" ({waiting[b][a]})' for a, b in itertools.pairwise(loop)]
    return f"{' and '.join(steps)}. Drop one of these constraints"
