"""Hooks, and the order in which they run."""

import itertools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradtx.loop.events import EVENTS


@dataclass(frozen=True)
class Hook:
    """A part of the training loop: pure functions called at its events.

        hook_state = init(train_state)        hook_state', context' = on[event](hook_state, context)

    `context` is what the event can see and change (`gradtx.loop.StepContext`); change it with
    `context.replace(...)`. All that the hook remembers is its state, a pytree whose structure,
    shapes and dtypes never change. `run_before` and `run_after` name other hooks (names that are
    absent are ignored); among hooks that they leave free, a lower `priority` runs first, then the
    earlier in the list. `aliases` are further names that others may use for this hook. `log` makes
    entries of the steps' log from the state after a training batch: a dict of scalars. One
    that judges whole epochs has `in_lr_find=False`: a learning-rate search leaves it out.

    Raises:
        TypeError: if `on` is no dict of functions, or `init` or `log` is no function.
        ValueError: if `on` has an event that does not exist.
    """

    name: str
    on: Mapping[str, Callable[[Any, Any], tuple[Any, Any]]]
    init: Callable[[Any], Any] = field(default=lambda state: ())
    run_before: Sequence[str] = ()
    run_after: Sequence[str] = ()
    priority: int = 0
    aliases: Sequence[str] = ()
    log: Callable[[Any], Mapping[str, Any]] = field(default=lambda state: {})
    in_lr_find: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.on, Mapping):
            raise TypeError(
                f"Hook {self.name!r}: `on` must be a dict, event -> function; got {self.on!r}. Pass"
                " for example {'after_loss': lambda state, context: (state, context)}."
            )
        for event, function in self.on.items():
            if event not in EVENTS:
                raise ValueError(
                    f"Hook {self.name!r}: `on` must have events of the loop; got {event!r}. Use one"
                    f" of: {', '.join(EVENTS)}."
                )
            if not callable(function):
                raise TypeError(
                    f"Hook {self.name!r}: `on[{event!r}]` must be a function (hook_state, context)"
                    f" -> (hook_state, context); got {function!r}. Pass the function."
                )
        for name in ("init", "log"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"Hook {self.name!r}: `{name}` must be a function of the state; got"
                    f" {getattr(self, name)!r}. Leave it out if there is nothing to do."
                )
        for constraint in ("run_before", "run_after", "aliases"):
            if isinstance(getattr(self, constraint), str):
                object.__setattr__(self, constraint, (getattr(self, constraint),))

    @property
    def names(self) -> frozenset[str]:
        """All names under which other hooks can refer to this one."""
        return frozenset((self.name, *self.aliases))

    @property
    def seed(self) -> int:
        """What tells this hook's random keys from another's, wherever it stands in the list."""
        return zlib.crc32(self.name.encode()) & 0x7FFFFFFF


def compose(hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """Put hooks into the order in which they run at every event.

        repeat: of the hooks whose predecessors have all been taken,
                take the one with the least (priority, place in the list)

    a is a predecessor of b if a names b in `run_before` or b names a in `run_after`.

    >>> a, b = Hook("a", {}, run_after=["b"]), Hook("b", {})
    >>> [hook.name for hook in compose([a, b])]
    ['b', 'a']

    Raises:
        TypeError: if `hooks` is no list, or an entry no `Hook`.
        ValueError: if two hooks share a name, or no order exists; names the cycle.
    """
    if not isinstance(hooks, Iterable):
        raise TypeError(f"compose: hooks must be a list of Hooks; got {hooks!r}. Write [hook].")
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
    rank = {hook.name: (hook.priority, i) for i, hook in enumerate(hooks)}
    waiting = {hook.name: _predecessors(hook, hooks) for hook in hooks}
    by_name = {hook.name: hook for hook in hooks}
    order: list[Hook] = []
    while waiting:
        ready = [name for name, before in waiting.items() if not (before.keys() & waiting.keys())]
        if not ready:
            raise ValueError(f"compose: hooks cannot be ordered: {_cycle(waiting)}.")
        first = min(ready, key=rank.__getitem__)
        del waiting[first]
        order.append(by_name[first])
    return tuple(order)


def _predecessors(hook: Hook, hooks: Sequence[Hook]) -> dict[str, str]:
    """Names of the hooks that must run before `hook`, each with the constraint that says so."""
    out = {}
    for other in hooks:
        if other.names & set(hook.run_after):
            out[other.name] = f"{hook.name}.run_after"
        elif hook.names & set(other.run_before):
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
