"""The one state type, and what a transformation says about itself."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.tree_util import DictKey, GetAttrKey

from gradtx.core.boxes import unboxed
from gradtx.core.optax_fields import as_optax, fields_of
from gradtx.core.tree import PyTree, upcast


class StateInfo(NamedTuple):
    """What of a state never changes: auxiliary data of the pytree, no leaf of it.

    Args:
        name: of the transformation.
        hyperparams: pairs of a name and the `Origin` of its values, or such pairs by group.
    """

    name: str
    hyperparams: tuple[tuple[str, Any], ...] = ()


def _refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Refuse: states are values, and what is set here would be lost."""
    raise TypeError(
        "TransformState.hyperparams: values must be set in a new state; got a change in place."
        " Write state = gradtx.set_hyperparams(state, NAME=value)."
    )


@jax.tree_util.register_pytree_with_keys_class
class Hyperparams(dict):
    """The hyperparameters of a state by name, read only; as a pytree it is a dict."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is a plain dict."""
        return dict, (dict(self),)

    def tree_flatten_with_keys(self) -> tuple[Any, tuple[str, ...]]:
        """The values in the order of their names, as of a dict."""
        names = tuple(sorted(self))
        return [(DictKey(name), self[name]) for name in names], names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Any) -> dict[str, Any]:
        """A plain dict."""
        return dict(zip(names, values, strict=True))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["counter", "own_hyperparams", "slots"],
    meta_fields=["info"],
)
@dataclass(frozen=True)
class TransformState:
    """The state of every gradtx transformation.

    `slots` is what the transformation remembers: for a leafwise one a dict of trees like `params`,
    for a chain the states of its parts. `state[key]` is `state.slots[key]`, a part with the counter
    of the whole, so that `state[0].count` of a chain is the chain's.

    It is a pytree whose structure no leaf can change, whatever stands in its place. The counter is
    a dict, empty where there is none: so it is no leaf there, and `optax.tree_utils.tree_get(state,
    "count")`, which looks into dicts, finds the one counter of a chain.

    What scripts read off Optax's states is here too, by name and by place: `state.mu`, `state[1]`;
    so are all slots, by their names.

    Args:
        info: what never changes: the transformation's name, where each hyperparameter comes from.
        counter: {"count": int32[]}, updates made so far; {} in a part, since the whole counts.
        own_hyperparams: those of this transformation itself: float32[] by name, or a dict of them
            by group.
        slots: what it remembers.
    """

    info: StateInfo
    counter: dict[str, Any]
    own_hyperparams: dict[str, Any]
    slots: Any

    @property
    def name(self) -> str:
        """The name of the transformation."""
        return self.info.name

    @property
    def count(self) -> jax.Array | None:
        """int32[]: updates made so far; None in a part of a state, which has no counter."""
        return self.counter.get("count")

    @property
    def hyperparams(self) -> Hyperparams:
        """The hyperparameters that the last update used, of this transformation and those inside.

        Named as by `gradtx.hyperparams`; set them with `gradtx.set_hyperparams`.
        """
        return Hyperparams({each.name: each.value for each in named_hyperparams(self)})

    def part(self, state: Any) -> Any:
        """A part in the slots with the counter of the whole, if it counts for that part.

        Args:
            state: the part; anything else stays as it is.
        """
        count = self.count
        if count is None or not is_state(state) or state.counter:
            return state
        return with_count(state, count)

    def __getitem__(self, key: Any) -> Any:
        """What the slots have under `key`; a part of a chain with the chain's counter.

        An integer that is no key is the place of a field in Optax's state.
        """
        if isinstance(key, int) and isinstance(self.slots, dict) and key not in self.slots:
            fields = list(fields_of(self.name, self.slots).values())
            if not -len(fields) <= key < len(fields):
                raise IndexError(f"TransformState: `{self.name}` has no field at place {key}")
            return fields[key](self)
        found = self.slots[key]
        if isinstance(key, slice):
            return tuple(map(self.part, found))
        return self.part(found)

    def __getattr__(self, name: str) -> Any:
        """A slot, or a field of Optax's state of this transformation, by its name."""
        slots = self.__dict__.get("slots")
        if isinstance(slots, dict) and not name.startswith("_"):
            fields = fields_of(self.name, slots)
            if name in fields:
                return fields[name](self)
            if name in slots:
                return self.part(slots[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        """Whether `other` is the same state, or a tuple that is Optax's state of the same."""
        if isinstance(other, tuple):
            return as_optax(self, is_state) == other
        if not isinstance(other, TransformState):
            return NotImplemented
        all_of = lambda x: (x.info, x.counter, x.own_hyperparams, x.slots)
        return all_of(self) == all_of(other)

    def __iter__(self) -> Iterator[Any]:
        """The parts of a chain, with its counter; of others the names of the slots."""
        return iter(self[:] if isinstance(self.slots, tuple) else self.slots)

    def __contains__(self, key: Any) -> bool:
        return key in self.slots


@dataclass(frozen=True)
class Structure:
    """What a transformation was built from: found as `tx.update.structure`.

    Args:
        name: the transformation's name.
        hyperparams: by name, what each was given as: a number, a schedule, a JAX scalar, groups.
        parts: the transformations inside.
        select: maps a tree of parameters to what each of `parts` sees of it, `None` for the leaves
            that it does not see; without it, every part sees all.
        labels: with `select`: of each of `parts`, whose state the slots hold under it as text.
        needs_params: the name of the transformation that needs the parameters, itself or a part.
        per_leaf: whether what becomes of a number depends on the others of its leaf, or on which
            leaf it is in.
        check: check(updates, state) requires that `state` is one of this transformation for trees
            like `updates`.
        apply: apply(updates, state, params, count, extra) is the update without checks, of a state
            without a counter: for a transformation around it that has checked and counts.
        after: with `select`: a transformation without slots that ends it, for all parts together;
            its hyperparameters are this one's own.
        update: the update that it belongs to. `functools.wraps` copies attributes: a function
            around that update is not what `apply` does.
    """

    name: str
    hyperparams: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Any, ...] = ()
    select: Callable[[PyTree], tuple[PyTree, ...]] | None = None
    labels: tuple[Any, ...] = ()
    needs_params: str | None = None
    per_leaf: bool = False
    check: Callable[[PyTree, Any], None] = lambda updates, state: None
    apply: Callable[..., tuple[PyTree, Any]] = lambda *args: args[:2]
    update: Any = None
    after: Any = None


def structure_of(tx: Any) -> Structure | None:
    """The structure of a transformation of gradtx; None for any other."""
    update = getattr(tx, "update", None)
    structure = getattr(update, "structure", None)
    return structure if structure is not None and structure.update is update else None


def is_state(node: Any) -> bool:
    """Whether `node` is a gradtx state; for `jax.tree.*(..., is_leaf=is_state)`."""
    return isinstance(node, TransformState)


def states_in(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple, TransformState]]:
    """(path, state) of every gradtx state inside `tree`, the outer before the inner."""
    for below, node in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_state):
        if is_state(node):
            yield (*path, *below), node
            yield from states_in(node.slots, (*path, *below, GetAttrKey("slots")))


def numbered(names: Sequence[str]) -> list[str]:
    """`names`, those that come more than once with a number: `scale[0]`, `scale[1]`."""
    times, seen, out = Counter(names), Counter(), []
    for name in names:
        out.append(f"{name}[{seen[name]}]" if times[name] > 1 else name)
        seen[name] += 1
    return out


class Named(NamedTuple):
    """One hyperparameter in a state."""

    name: str  # unambiguous in the whole state
    path: tuple[Any, ...]  # of the leaf, or of the dict by group
    owner: TransformState
    key: str  # its name in the owner

    @property
    def value(self) -> Any:
        """float32[], or a dict of them by group."""
        return unboxed(self.owner.own_hyperparams[self.key])

    @property
    def origin(self) -> Any:
        """Where the value comes from: an `Origin`, or pairs (group, `Origin`)."""
        return dict(self.owner.info.hyperparams)[self.key]


def named_hyperparams(state: Any) -> list[Named]:
    """Every hyperparameter in `state`, a pytree that holds gradtx states.

    Its name is its key, where one transformation has it; else with the transformation's name before
    it, and where several of one name have it, also their number: `scale_by_rms[1].decay`.
    """
    found = list(states_in(state))
    named = []
    for i, (path, owner) in enumerate(found):
        for key in owner.own_hyperparams:
            rivals = [j for j, (_, other) in enumerate(found) if key in other.own_hyperparams]
            owners = numbered([found[j][1].name for j in rivals])
            name = f"{owners[rivals.index(i)]}.{key}" if len(rivals) > 1 else key
            place = (*path, GetAttrKey("own_hyperparams"), DictKey(key))
            named.append(Named(name, place, owner, key))
    return named


def without_count(state: Any) -> Any:
    """`state` without its counter, if it is a gradtx state: for what counts for it."""
    return replace(state, counter={}) if is_state(state) else state


def with_count(state: Any, count: jax.Array) -> Any:
    """The inverse of `without_count`."""
    return replace(state, counter={"count": count}) if is_state(state) else state


def update_after(after: Any, updates: PyTree, own: Any, params: PyTree, count: Any) -> PyTree:
    """The update of a transformation without slots, whose state is made of hyperparameters."""
    state = TransformState(StateInfo("after"), {}, dict(own), {})
    return after.update.structure.apply(updates, state, params, count, {})[0]


def update_inner(
    inner: Any, updates: PyTree, state: Any, params: PyTree, count: jax.Array, /, **extra: Any
) -> tuple[PyTree, Any]:
    """The update of a transformation inside another that counts for it; its state has no counter.

    A gradtx transformation is given updates in at least float32, so that its steps are not rounded
    to the gradients' dtype before the outer one adds them up.
    """
    precise = upcast(updates) if is_state(state) else updates
    updates, state = inner.update(precise, with_count(state, count), params, **extra)
    return updates, without_count(state)
