"""Make a transformation from a rule for one leaf."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gradtx.core.hyperparams import Interval, PerGroup
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    is_array,
    specs_of,
    transformation,
)
from gradtx.core.tree import (
    PyTree,
    check_slot,
    compute_dtype,
    dtype_of,
    is_complex,
    is_none,
    kind_in,
    path_name,
    real_of,
    shape_of,
)
from gradtx.core.values import Values
from gradtx.kinds import Dtype, checked

Slot = Callable[[Any], Any]


@checked
def zeros(dtype: Dtype | None = None, *, real: bool = False) -> Slot:
    """A slot that starts as zeros like the parameter.

        slot = 0

    Args:
        dtype: of the slot; by default that of the parameter, at least float32. A real one for a
            complex parameter is obeyed, with a warning: the slot then keeps the real part alone.
        real: whether the slot is real also for a complex parameter, as a mean of |g|^2 is.
    """

    def start(p: Any) -> jax.Array:
        kind = dtype or compute_dtype(p)
        if real:
            kind = real_of(kind)
        elif is_complex(dtype_of(p)) and not is_complex(kind):
            warnings.warn(
                f"zeros: the slot of a complex parameter should be complex; got"
                f" {jnp.dtype(kind).name}, which keeps the real part alone. Leave its dtype out.",
                stacklevel=2,
            )
        return jnp.zeros_like(p, dtype=kind)

    return start


def leafwise(
    name: str,
    update: Callable[..., Callable[..., Any]],
    *,
    slots: Mapping[str, Slot] | None = None,
    needs_params: bool = False,
    per_leaf: bool = False,
    labels: Callable[[PyTree], PyTree] | None = None,
    **hyperparams: tuple[Any, Interval] | None,
) -> GradientTransformationExtraArgs:
    """Make a transformation from a rule for one leaf.

        rule = update(h)        u, {slot: new value} = rule(g, p, **slots)

    `update(h)` is called once for all leaves that share their hyperparameters, so what depends on
    `h` alone belongs there; `rule` sees one leaf's gradient `g`, its parameter `p` (None if the
    caller gave none) and its slots. All of them and `h` arrive in one dtype, at least float32, or
    its complex counterpart where they are complex; the result is cast back to the dtypes of the
    gradient (unless that is of integers) and of the slots, so the state's dtypes never change, and
    neither may the rule change shapes. A rule without slots returns `u` alone. A leaf
    whose gradient is `None` is passed over.

    >>> import jax.numpy as jnp
    >>> halve = leafwise("halve", lambda h: lambda g, p: g * h.factor, factor=(0.5, Interval(0)))
    >>> updates, state = halve.update({"w": jnp.ones(2)}, halve.init({"w": jnp.ones(2)}))
    >>> updates["w"].tolist()
    [0.5, 0.5]

    Args:
        name: what messages, `describe` and states call it.
        update: a function of the hyperparameters (its attributes) that returns the rule.
        slots: by name what is remembered of each leaf: a function from the parameter to the first
            value, such as `zeros()`.
        needs_params: whether an update without parameters is an error.
        per_leaf: whether the rule is not elementwise, as one that uses a leaf's norm or shape;
            `flatten` refuses such a one.
        labels: maps a tree of arrays to one of the same structure of what never changes about each
            leaf, such as which axes are which; hashable, and no pytree. `update(h, label)` is then
            called for the leaves of each label.
        **hyperparams: pairs (number, schedule, JAX scalar or `by_group` of those; the interval that
            it must lie in), or None for one that is left out of the state: `h` has None for it.

    Raises:
        TypeError: at once if `update` is no function or a hyperparameter no pair; on `update` if
            the rule returns something else than `u` and the slots.
        ValueError: on `update`, naming the leaf, if the rule changes a shape.
    """
    slots, specs = dict(slots or {}), specs_of(name, hyperparams)
    if not callable(update):
        raise TypeError(
            f"{name}: `update` must be a function of the hyperparameters that returns the rule; got"
            f" {update!r}. Pass for example lambda h: lambda g, p: -h.rate * g."
        )
    grouped = {key: spec for key, spec in specs.items() if isinstance(spec, PerGroup)}
    rule = _Rule(name, update, tuple(slots), grouped, labels)
    options: dict[str, Any] = {"needs_params": needs_params, "per_leaf": per_leaf, **hyperparams}
    return transformation(
        name,
        lambda params: {slot: jax.tree.map(make, params) for slot, make in slots.items()},
        rule.update_tree,
        per_group=True,
        remembers=bool(slots),
        check=rule.check_slots,
        **options,
    )


@dataclass(frozen=True)
class _Rule:
    """A rule for one leaf, made one for whole trees."""

    name: str
    update: Callable[..., Callable[..., Any]]
    slots: tuple[str, ...]
    grouped: Mapping[str, PerGroup]  # the hyperparameters that differ between groups
    labels: Callable[[PyTree], PyTree] | None

    def check_slots(self, updates: PyTree, slots: Any) -> None:
        """Require slots of this rule for trees like `updates`."""
        if not isinstance(slots, dict) or set(slots) != set(self.slots):
            raise ValueError(
                f"{self.name}.update: `state.slots` must hold {sorted(self.slots)}; got"
                f" {sorted(slots) if isinstance(slots, dict) else type(slots).__name__}. Pass a"
                " state that a transform with the same settings made."
            )
        for slot, tree in slots.items():
            check_slot(f"{self.name}.update", updates, slot, tree)

    def update_tree(self, updates: PyTree, old: Any, params: PyTree, h: Values, **extra: Any):
        """The rule on every leaf that has a gradient; the others keep their slots."""
        del extra
        grads, ps, olds, treedef = _aligned(updates, params, [old[slot] for slot in self.slots])
        rules = _Rules(self, h, updates, len(grads))
        us, news = list(grads), [list(column) for column in olds]
        for i, g in enumerate(grads):
            if g is None:
                continue
            mine = [column[i] for column in olds]
            us[i], new = rules.of(i, g, ps[i], mine)(g, ps[i], mine)
            for column, x in zip(news, new, strict=True):
                column[i] = x
            if [x.shape for x in (us[i], *new)] != [jnp.shape(x) for x in (g, *mine)]:
                raise _changed_shape(self, updates, i, (g, *mine), (us[i], *new))
        trees = {slot: treedef.unflatten(x) for slot, x in zip(self.slots, news, strict=True)}
        return treedef.unflatten(us), trees


def _aligned(updates: PyTree, params: PyTree, slots: Sequence[PyTree]) -> tuple[Any, ...]:
    """The leaves of gradients, parameters and each slot, one for one, and the tree's structure.

    A gradient or a parameter may be `None`.
    """
    leaves, treedef = jax.tree.flatten(updates)
    others = slots if params is None else [params, *slots]
    if all([jax.tree.structure(tree) == treedef for tree in others]):
        columns = [jax.tree.leaves(tree) for tree in others]
    else:  # there are leaves without a gradient
        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        columns = [treedef.flatten_up_to(tree) for tree in others]
    if params is None:
        columns = [[None] * len(leaves), *columns]
    return leaves, columns[0], columns[1:], treedef


class _Rules:
    """The rules of one update, each made once for the leaves that share dtypes and groups."""

    def __init__(self, rule: _Rule, h: Values, updates: PyTree, leaves: int):
        traced = isinstance(h.count, Tracer)
        self.rule, self.h, self.made = rule, h.together() if traced else h, {}
        groups = {key: spec.labels for key, spec in rule.grouped.items()}
        self.groups = {key: _by_leaf(labels(updates), leaves) for key, labels in groups.items()}
        self.labels = _by_leaf(rule.labels(updates), leaves) if rule.labels else None
        # Inside jit, leaves of one shape are traced and lowered once: half of the time for a
        # thousand leaves. Outside it, this would compile anew at each update.
        self.finish = jax.jit if traced else lambda step: step

    def of(self, i: int, g: Any, p: Any, old: Sequence[Any]) -> Callable:
        """The step for leaf number `i`: (g, p, old slots) -> (u, new slots)."""
        groups = tuple([labels[i] for labels in self.groups.values()])
        label = () if self.labels is None else (self.labels[i],)
        key = (groups, label, *[getattr(x, "dtype", type(x)) for x in (g, p, *old)])
        if key not in self.made:
            self.made[key] = self.finish(self._step(groups, label, [g, p, *old]))
        return self.made[key]

    def _step(self, groups: tuple[Any, ...], label: tuple[Any, ...], like: Sequence[Any]):
        """The rule for one leaf, up to the compute dtype and back to the dtypes that came in.

        `like` are a gradient, a parameter and slots of the dtypes that it will be given.
        """
        name, slots = self.rule.name, self.rule.slots
        dtypes = [jnp.float32 if x is None else jnp.result_type(x) for x in like]
        dtype = real_of(compute_dtype(*like))
        kinds = [kind_in(x, dtype) for x in dtypes]
        # Real hyperparameters times complex gradients are a mixture, on purpose.
        mixture = {*kinds} != {dtype}
        if not jnp.issubdtype(dtypes[0], jnp.inexact):
            dtypes[0] = dtype  # an update of integers is none
        h = self.h.for_leaf(dtype, dict(zip(self.groups, groups, strict=True)))
        rule = self.rule.update(h, *label)
        if not callable(rule):
            raise TypeError(
                f"{name}: `update` must return the rule, a function (g, p, **slots); got"
                f" {type(rule).__name__}. Write lambda h: lambda g, p: ..., two functions."
            )

        def step(g: Any, p: Any, old: Sequence[Any]) -> tuple[Any, list[Any]]:
            wide_g, wide_p, *wide = _cast([g, p, *old], kinds)
            with jax.numpy_dtype_promotion("standard") if mixture else nullcontext():
                out = rule(wide_g, wide_p, **dict(zip(slots, wide, strict=True)))
            u, new = _returned(name, out, slots)
            back = _cast([u, *[new[slot] for slot in slots]], [dtypes[0], *dtypes[2:]])
            return back[0], back[1:]

        return step


def _by_leaf(labels: PyTree, leaves: int) -> list[Any]:
    """The label of each leaf: None where there is none, and no entry where trees are flattened
    without their `None`s."""
    found = jax.tree.leaves(labels, is_leaf=is_none)
    return found if len(found) == leaves else [label for label in found if label is not None]


def _cast(arrays: Sequence[Any], dtypes: Sequence[Any]) -> list[Any]:
    """Each array in its dtype, of a complex one in a real dtype the real part; None stays."""
    lossy = lambda x, dtype: is_complex(jnp.result_type(x)) and not is_complex(dtype)
    return [
        x
        if x is None or getattr(x, "dtype", None) == dtype
        else jnp.asarray(jnp.real(x) if lossy(x, dtype) else x, dtype)
        for x, dtype in zip(arrays, dtypes, strict=True)
    ]


def _returned(name: str, out: Any, slots: Sequence[str]) -> tuple[Any, Mapping[str, Any]]:
    """`u` and the new slots in what the rule returned.

    Raises:
        TypeError: if it returned something else.
    """
    pair = isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Mapping)
    u, new = out if pair and slots else (out, {})
    values = (u, *new.values())
    if new.keys() == set(slots) and all([hasattr(x, "dtype") or is_array(x) for x in values]):
        return u, new
    some = ", ".join(f"{slot!r}: ..." for slot in slots)
    form = f"(u, {{{some}}}), all of them arrays" if slots else "u, one array"
    do = "and a new value for each slot" if slots else "alone; slots are given as `slots={...}`"
    raise TypeError(
        f"{name}: the rule must return {form}; got {_form(out)}. Return the update {do}."
    )


def _form(out: Any) -> str:
    if isinstance(out, tuple):
        return f"({', '.join(map(_form, out))})"
    if isinstance(out, Mapping):
        return f"{{{', '.join(f'{key!r}: {_form(x)}' for key, x in out.items())}}}"
    return f"an array of shape {shape_of(out)}" if is_array(out) else type(out).__name__


def _changed_shape(rule: _Rule, updates: PyTree, i: int, old: tuple, new: tuple) -> ValueError:
    """What to say of leaf number `i`, for which the rule changed a shape."""
    path, _ = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_none)[0][i]
    parts = ("u", *(f"the slot {slot!r}" for slot in rule.slots))
    what, a, b = next(
        x for x in zip(parts, map(shape_of, old), map(shape_of, new), strict=True) if x[1] != x[2]
    )
    return ValueError(
        f"{rule.name}.update: the rule must keep each leaf's shape; got {what} of shape {b} at"
        f" {path_name(path)}, whose shape is {a}. Reduce with keepdims, or broadcast back."
    )
