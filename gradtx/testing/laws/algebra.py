"""Laws of algebra: composition, and the symmetries that a transformation may claim."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import optax

from gradtx.core.chain import chain as gradtx_chain
from gradtx.core.state import TransformState
from gradtx.testing.law import law, with_tolerance
from gradtx.testing.run import disturbed, map_floats, run, same_updates, to_float64

PyTree = Any


@lru_cache(maxsize=16)
def _chained(tx: Any, order: str, mine: bool) -> Any:
    chain = gradtx_chain if mine else optax.chain
    first, last = optax.scale(0.5), optax.trace(0.5)
    return {
        "neutral": lambda: chain(optax.identity(), tx, optax.identity()),
        "left": lambda: chain(chain(first, tx), last),
        "right": lambda: chain(first, chain(tx, last)),
    }[order]()


def _is_mine(tx: Any, params: PyTree) -> bool:
    return isinstance(tx.init(params), TransformState)


@law(trees="vector", arguments=with_tolerance)
def chain_identity(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """The identity is neutral in a chain, on both sides.

        chain(identity(), tx, identity()) = tx

    A gradtx transformation is chained with `gradtx.chain`, any other with `optax.chain`.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    chained = _chained(tx, "neutral", _is_mine(tx, params))
    got, want = run(chained, params, grads).updates, run(tx, params, grads).updates
    again = disturbed(tx, params, grads)
    same_updates(got, want, tolerance=tolerance, what=("in a chain", "alone"), again=again)


@law(trees="vector", arguments=with_tolerance)
def chain_associative(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float
) -> None:
    """How the links of a chain are nested does not matter.

        chain(chain(a, tx), b) = chain(a, chain(tx, b))        a = scale(1/2), b = trace(1/2)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    mine = _is_mine(tx, params)
    left, right = _chained(tx, "left", mine), _chained(tx, "right", mine)
    got, want = run(left, params, grads).updates, run(right, params, grads).updates
    again = disturbed(right, params, grads)
    what = ("chain(chain(a, tx), b)", "chain(a, chain(tx, b))")
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


def _combine(a: float, g: PyTree, b: float, h: PyTree) -> PyTree:
    return map_floats(lambda x, y: a * to_float64(x) + b * to_float64(y), g, h)


@law(when=lambda c: c.linear, draws=("other", "factor", "other_factor"), arguments=with_tolerance)
def linear(
    tx: Any,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    other: Sequence[PyTree],
    factor: float,
    other_factor: float,
    tolerance: float,
) -> None:
    """Updates are linear in the run of gradients.

        u(a g + b h) = a u(g) + b u(h)        a = factor, b = other_factor

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        other: as many other gradients.
        factor: the factor of `grads`.
        other_factor: the factor of `other`.
        tolerance: largest relative difference that is rounding.
    """
    a, b = factor, other_factor
    mixed = [_combine(a, g, b, h) for g, h in zip(grads, other, strict=True)]
    got, one, two = (run(tx, params, gs).updates for gs in (mixed, grads, other))
    want = [_combine(a, u, b, v) for u, v in zip(one, two, strict=True)]

    def again(seed: int) -> list[PyTree]:
        # What cancels in the sum leaves the rounding errors of its terms.
        u, v = (disturbed(tx, params, gs)(seed) for gs in (grads, other))
        return [_combine(a, x, b, y) for x, y in zip(u, v, strict=True)]

    what = (f"u({a} g + {b} h) is", f"{a} u(g) + {b} u(h)")
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


def _scaled(grads: Sequence[PyTree], factor: float) -> list[PyTree]:
    return [map_floats(lambda x: factor * to_float64(x), g) for g in grads]


@law(when=lambda c: c.scale_equivariant, draws=("factor",), arguments=with_tolerance)
def scale_equivariant(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, factor: float, tolerance: float
) -> None:
    """Gradients that are larger by a factor give updates that are larger by the same factor.

        u(a g) = a u(g)        a = factor > 0

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        factor: the factor, positive.
        tolerance: largest relative difference that is rounding.
    """
    bigger = _scaled(grads, factor)
    want = _scaled(run(tx, params, grads).updates, factor)
    what, again = (f"u({factor} g) is", f"{factor} u(g)"), disturbed(tx, params, bigger)
    got = run(tx, params, bigger).updates
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


@law(when=lambda c: c.scale_invariant, draws=("factor",), arguments=with_tolerance)
def scale_invariant(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, factor: float, tolerance: float
) -> None:
    """Gradients that are larger by a factor give the same updates.

        u(a g) = u(g)        a = factor > 0, for |g| well above the transformation's `eps`

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        factor: the factor, positive.
        tolerance: largest relative difference that is rounding.
    """
    bigger = _scaled(grads, factor)
    got, want = run(tx, params, bigger).updates, run(tx, params, grads).updates
    what, again = (f"u({factor} g) is", "u(g)"), disturbed(tx, params, grads)
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


@law(when=lambda c: c.translation_equivariant, draws=("other_params",), arguments=with_tolerance)
def translation_equivariant(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, other_params: PyTree, tolerance: float
) -> None:
    """The path of the parameters moves with its start: updates do not depend on where they are.

        u(g, p) = u(g, q)        p = params, q = other_params

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        other_params: other parameters of the same structure.
        tolerance: largest relative difference that is rounding.
    """
    got, want = run(tx, other_params, grads).updates, run(tx, params, grads).updates
    what, again = ("u(g, q) is", "u(g, p)"), disturbed(tx, params, grads)
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


@law(when=lambda c: c.leafwise, trees="pair", arguments=with_tolerance)
def leafwise(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """A leaf's update depends on that leaf alone.

        u({a: g, b: h}) = {a: u(g), b: u(h)}

    Args:
        tx: the transformation, with `init` and `update`.
        params: a dict of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    both = run(tx, params, grads).updates
    for key in params:
        alone = {"w": params[key]}, [{"w": g[key]} for g in grads]
        got, want = [{"w": u[key]} for u in both], run(tx, *alone).updates
        what, again = (f"{key} among others", f"{key} alone"), disturbed(tx, *alone)
        same_updates(got, want, tolerance=tolerance, what=what, again=again)


@law(when=lambda c: c.elementwise, arguments=with_tolerance)
def elementwise(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """How parameters are split into leaves means nothing: an element's update is its own.

        u(split(g), split(p)) = split(u(g, p))        split(x) = (x_1, [x_2 .. x_n])

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    halves = lambda x: (x.reshape(-1)[:1], x.reshape(-1)[1:])
    split = lambda tree: jax.tree.map(halves, tree)
    parts = split(params), [split(g) for g in grads]
    got, want = run(tx, *parts).updates, [split(u) for u in run(tx, params, grads).updates]
    what, again = ("in two leaves", "in one"), disturbed(tx, *parts)
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


@law(
    when=lambda c: c.leaf_permutation_equivariant or c.leafwise,
    trees="pair",
    arguments=with_tolerance,
)
def leaf_permutation_equivariant(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float
) -> None:
    """Two leaves that change places change their updates: names and order mean nothing.

        u({a: h, b: g}) = {a: v, b: u}    if    u({a: g, b: h}) = {a: u, b: v}

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of two parameters of one shape and dtype.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    swap = lambda tree: jax.tree.unflatten(
        jax.tree.structure(tree), list(reversed(jax.tree.leaves(tree)))
    )
    swapped = run(tx, swap(params), [swap(g) for g in grads]).updates
    got, want = [swap(u) for u in swapped], run(tx, params, grads).updates
    what, again = ("after the swap", "before"), disturbed(tx, params, grads)
    same_updates(got, want, tolerance=tolerance, what=what, again=again)
