"""Make a transform from a rule for one leaf."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gradtx.core.hyperparams import Interval, PerGroup
from gradtx.core.transformation import (
    GradientTransformation,
    Values,
    is_array,
    specs_of,
    transformation,
)
from gradtx.core.tree import (
    PyTree,
    as_dtype,
    check_like,
    compute_dtype,
    dtype_of,
    is_none,
    path_name,
    shape_of,
)

Slot = Callable[[Any], Any]


def zeros(dtype: Any = None) -> Slot:
    """A slot that starts as zeros like the parameter, in `dtype` or at least float32."""
    return lambda p: jnp.zeros_like(p, dtype=dtype or compute_dtype(p))


def leafwise(
    name: str,
    update: Callable[[Any], Callable[..., Any]],
    *,
    slots: Mapping[str, Slot] | None = None,
    needs_params: bool = False,
    **hyperparams: tuple[Any, Interval],
) -> GradientTransformation:
    """Make a transform from a rule for one leaf.

        rule = update(h)        u, {slot: new value} = rule(g, p, **slots)

    `update(h)` is called once for all leaves that share their hyperparameters, so what depends on
    `h` alone belongs there; `rule` sees one leaf's gradient `g`, its parameter `p` (None if the
    caller gave none) and its slots. All of them and `h` arrive in one dtype, at least float32; the
    result is cast back to the dtypes of the gradient and of the slots, so the state's dtypes never
    change, and neither may the rule change shapes. A rule without slots returns `u` alone. A leaf
    whose gradient is `None` is passed over.

    >>> import jax.numpy as jnp
    >>> halve = leafwise("halve", lambda h: lambda g, p: g * h.factor, factor=(0.5, Interval(0)))
    >>> updates, state = halve.update({"w": jnp.ones(2)}, halve.init({"w": jnp.ones(2)}))
    >>> updates["w"].tolist()
    [0.5, 0.5]

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

    def init_slots(params: PyTree) -> dict[str, PyTree]:
        return {slot: jax.tree.map(make, params) for slot, make in slots.items()}

    def update_tree(updates: PyTree, old: dict[str, PyTree], params: PyTree, h: Any, **extra: Any):
        del extra
        if not isinstance(old, dict) or set(old) != set(slots):
            raise ValueError(
                f"{name}.update: `state.slots` must hold {sorted(slots)}; got"
                f" {sorted(old) if isinstance(old, dict) else type(old).__name__}. Pass a state"
                " that a transform with the same settings made."
            )
        for slot, tree in old.items():
            do = "This state was made for other parameters: call `init` with these."
            check_like(f"{name}.update", "updates", updates, f"state.slots[{slot!r}]", tree, do)
        grads, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        ps = [None] * len(grads) if params is None else treedef.flatten_up_to(params)
        olds = [treedef.flatten_up_to(old[slot]) for slot in slots]
        step_for = _steps(name, update, list(slots), specs, updates, h)
        out, new = [], []
        for i, (g, p, *mine) in enumerate(zip(grads, ps, *olds, strict=True)):
            u, got = (None, mine) if g is None else step_for(i, g, p, mine)(g, p, mine)
            if g is not None and [*map(shape_of, (u, *got))] != [*map(shape_of, (g, *mine))]:
                raise ValueError(_shapes(name, updates, i, (g, *mine), (u, *got), slots))
            out.append(u)
            new.append(got)
        columns = zip(*new, strict=True) if new else [()] * len(slots)
        trees = [treedef.unflatten(column) for column in columns]
        return treedef.unflatten(out), dict(zip(slots, trees, strict=True))

    given: dict[str, Any] = {"needs_params": needs_params, **hyperparams}
    return transformation(name, init_slots, update_tree, per_group=True, **given)


def _steps(name: str, update: Callable, slots: list[str], specs: Any, updates: PyTree, h: Any):
    """A function (leaf's index, its arrays) -> the step for them, made once by group and dtype."""
    labels = {
        key: jax.tree.leaves(spec.labels(updates), is_leaf=is_none)
        for key, spec in specs.items()
        if isinstance(spec, PerGroup)
    }
    # Inside jit, leaves of one shape are traced and lowered once: half of the time for a thousand
    # leaves. Outside it, this would compile anew at each update.
    finish = jax.jit if isinstance(h.count, Tracer) else lambda step: step
    made = {}

    def step_for(i: int, g: Any, p: Any, old: list[Any]) -> Callable:
        mine, dtype = tuple(labels[key][i] for key in labels), compute_dtype(g, p, *old)
        if (mine, dtype) not in made:
            values = dict(vars(h))
            values |= {key: values[key][label] for key, label in zip(labels, mine, strict=True)}
            count = values.pop("count")
            cast = {key: jnp.asarray(value, dtype) for key, value in values.items()}
            rule = update(Values(name, **cast, count=count))
            if not callable(rule):
                raise TypeError(
                    f"{name}: `update` must return the rule, a function (g, p, **slots); got"
                    f" {type(rule).__name__}. Write lambda h: lambda g, p: ..., two functions."
                )
            made[mine, dtype] = finish(_in_dtype(name, rule, slots, dtype))
        return made[mine, dtype]

    return step_for


def _in_dtype(name: str, rule: Callable, slots: list[str], dtype: Any) -> Callable:
    """`rule` on one leaf: up to the compute dtype, and back to the dtypes that came in."""

    def step(g: Any, p: Any, old: list[Any]) -> tuple[Any, list[Any]]:
        up = lambda x: None if x is None else as_dtype(x, dtype)
        out = rule(up(g), up(p), **{slot: up(x) for slot, x in zip(slots, old, strict=True)})
        u, new = _returned(name, out, slots)
        back = [as_dtype(new[slot], dtype_of(x)) for slot, x in zip(slots, old, strict=True)]
        return as_dtype(u, dtype_of(g)), back

    return step


def _returned(name: str, out: Any, slots: list[str]) -> tuple[Any, Mapping[str, Any]]:
    """`u` and the new slots in what the rule returned.

    Raises:
        TypeError: if it returned something else.
    """
    pair = isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Mapping)
    u, new = out if pair and slots else (out, {})
    if set(new) == set(slots) and all(is_array(x) for x in (u, *new.values())):
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


def _shapes(name: str, updates: PyTree, i: int, old: tuple, new: tuple, slots: Any) -> str:
    """What to say of leaf number `i`, for which the rule changed a shape."""
    path, _ = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_none)[0][i]
    parts = ("u", *(f"the slot {slot!r}" for slot in slots))
    what, a, b = next(
        x for x in zip(parts, map(shape_of, old), map(shape_of, new), strict=True) if x[1] != x[2]
    )
    return (
        f"{name}.update: the rule must keep each leaf's shape; got {what} of shape {b} at"
        f" {path_name(path)}, whose shape is {a}. Reduce with keepdims, or broadcast back."
    )
