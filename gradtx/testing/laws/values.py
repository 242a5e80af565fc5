"""Laws of values: what the numbers must be."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.testing.law import law, with_tolerance
from gradtx.testing.run import (
    disturbed,
    flat,
    map_floats,
    require,
    run,
    same_updates,
    to_float64,
)

PyTree = Any


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)


@law(when=lambda c: c.zero_is_fixed_point)
def zero_is_fixed_point(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Without gradients from the start, nothing moves.

        g_1 = .. = g_n = 0  =>  u_1 = .. = u_n = 0

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: trees of gradients like `params`, of which only the shapes count.
    """
    for t, u in enumerate(run(tx, params, [_zeros(g) for g in grads]).updates):
        for path, leaf in flat(u).items():
            if leaf is not None:
                moved = to_float64(leaf).tolist()
                require(not np.any(moved), f"update {t} at {path} is {moved}, of zero gradients")


@law(when=lambda c: c.bias_corrected, steps=(1, 1), arguments=with_tolerance)
def bias_corrected(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """Averages that start at zero do not show it: a constant gradient gives a constant update.

        g_1 = .. = g_n = g  =>  u_1 = .. = u_n

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: trees of gradients like `params`, of which the first is repeated.
        tolerance: largest relative difference that is rounding.
    """
    constant = [grads[0]] * 6
    updates = run(tx, params, constant).updates
    what = ("the update is", "the first was")
    # 1 - b2^t loses up to three digits in float32, where it is not calculated by expm1.
    same_updates(updates[1:], [updates[0]] * 5, tolerance=10 * tolerance, what=what)


@law(
    when=lambda c: c.masks is not None,
    draws=("other",),
    arguments=lambda s: {"mask": s.claims.masks},
)
def masks(
    tx: Any,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    other: Sequence[PyTree],
    mask: Callable[[PyTree], PyTree],
) -> None:
    """What the mask leaves out passes through as it is, and does not touch the rest.

        u_i = g_i  where mask(p)_i is False;   u_i where it is True does not depend on those g_i

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        other: as many other gradients, to stand where the mask is False.
        mask: function from the parameters to a tree of bools.
    """
    on = [bool(x) for x in jax.tree.leaves(mask(params))]
    updates = run(tx, params, grads).updates
    for t, (u, g) in enumerate(zip(updates, grads, strict=True)):
        for (path, x), y, inside in zip(flat(u).items(), jax.tree.leaves(g), on, strict=True):
            same = inside or np.array_equal(to_float64(x), to_float64(y), equal_nan=True)
            require(same, f"update {t} at {path} is {x}, the gradient {y}, and the mask leaves it")

    def replaced(g: PyTree, h: PyTree) -> PyTree:
        leaves = zip(jax.tree.leaves(g), jax.tree.leaves(h), on, strict=True)
        return jax.tree.unflatten(jax.tree.structure(g), [x if i else y for x, y, i in leaves])

    elsewhere = run(tx, params, [replaced(g, h) for g, h in zip(grads, other, strict=True)]).updates
    inside = lambda us: [
        {n: x for n, (x, i) in enumerate(zip(jax.tree.leaves(u), on, strict=True)) if i} for u in us
    ]
    what = ("with other gradients where the mask is False", "before")
    same_updates(inside(elsewhere), inside(updates), tolerance=0.0, what=what)


@law(when=lambda c: c.frozen is not None, arguments=lambda s: {"mask": s.claims.frozen})
def frozen(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, mask: Callable[[PyTree], PyTree]
) -> None:
    """What is frozen does not move.

        u_i = 0  where mask(p)_i is False

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        mask: function from the parameters to a tree of bools; False freezes.
    """
    on = [bool(x) for x in jax.tree.leaves(mask(params))]
    for t, u in enumerate(run(tx, params, grads).updates):
        for (path, x), moves in zip(flat(u).items(), on, strict=True):
            still = moves or x is None or not np.any(to_float64(x))
            require(still, f"update {t} at {path} is {x}, and the mask freezes it")


def _decay_arguments(subject: Any) -> dict[str, Any]:
    return {"decay": subject.claims.decoupled_weight_decay} | with_tolerance(subject)


@law(when=lambda c: c.decoupled_weight_decay is not None, arguments=_decay_arguments)
def decoupled_weight_decay(
    tx: Any,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    decay: float | Callable[[int], float],
    tolerance: float,
) -> None:
    """Weight decay shrinks the parameters by its factor, whatever the gradients are or were.

        u_t(g, p) = u_t(g, 0) - c p        c = learning_rate weight_decay, or c(t)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        decay: the factor `c`, or a function from the count to it.
        tolerance: largest relative difference that is rounding.
    """
    rate = decay if callable(decay) else lambda t: decay
    got, base = run(tx, params, grads).updates, run(tx, _zeros(params), grads).updates

    def decayed(updates: Sequence[PyTree]) -> list[PyTree]:
        less = lambda t: lambda u, p: to_float64(u) - float(rate(t)) * to_float64(p)
        return [map_floats(less(t), u, params) for t, u in enumerate(updates)]

    def again(seed: int) -> list[PyTree]:
        return decayed(disturbed(tx, _zeros(params), grads)(seed))

    what = ("u(g, p) is", "u(g, 0) - c p")
    same_updates(got, decayed(base), tolerance=tolerance, what=what, again=again)


@law(
    when=lambda c: c.equals is not None,
    arguments=lambda s: {"reference": s.claims.equals} | with_tolerance(s),
)
def equals(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, reference: Any, tolerance: float
) -> None:
    """The updates are those of another transformation.

        u(g, p) = u_reference(g, p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        reference: the other transformation.
        tolerance: largest relative difference that is rounding.
    """
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want = run(reference, params, grads).updates
    got, again = run(tx, params, grads).updates, disturbed(tx, params, grads)
    what = ("the update is", "the reference's")
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


@law(
    when=lambda c: c.oracle is not None,
    arguments=lambda s: {"rule": s.claims.oracle} | with_tolerance(s),
)
def oracle(
    tx: Any,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    rule: tuple[Callable, Callable],
    tolerance: float,
) -> None:
    """The updates are those of a rule in float64 NumPy, one leaf at a time.

        u, m = step(g, m, p, t)  from  m = init(p),  for t = 0, 1, ..

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        rule: the pair (init, step).
        tolerance: largest relative difference that is rounding.
    """
    init, step = rule
    got = run(tx, params, grads).updates
    columns = []
    for i, p in enumerate(jax.tree.leaves(params)):
        p, column = to_float64(p), []
        memory = init(p)
        for t, g in enumerate(grads):
            u, memory = step(to_float64(jax.tree.leaves(g)[i]), memory, p, t)
            column.append(u)
        columns.append(column)
    treedef = jax.tree.structure(params)
    want = [treedef.unflatten([c[t] for c in columns]) for t in range(len(grads))]
    again = disturbed(tx, params, grads)
    what = ("the update is", "the rule's")
    same_updates(got, want, tolerance=tolerance, what=what, again=again)
