"""Keep what bfloat16 and float16 parameters would lose of their updates.

A bfloat16 parameter of 1 does not move by 1e-3: the sum is rounded back to 1, each time. Three
remedies, each exact on average or to the last bit: random rounding, which needs no memory; a
remainder in the parameter's own dtype; and whole parameters in float32. The first two stand last
in a chain; `apply_updates` stays the plain sum. Parameters of float32 and more are left alone by
the first and the third.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.state import update_inner, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import (
    PyTree,
    as_dtype,
    cast_like,
    compute_dtype,
    dtype_of,
    is_complex,
    is_inexact,
    is_none,
    real_of,
)
from gradtx.kinds import checked


def _is_low(p: Any) -> bool:
    return is_inexact(dtype_of(p)) and jnp.finfo(dtype_of(p)).bits < 32


def _nearest(x: jax.Array, dtype: Any) -> jax.Array:
    """`x` rounded to what `dtype` can hold, in the dtype of `x`.

    Not two plain casts, which XLA may drop as a pair. `reduce_precision` fuses, but takes float16's
    subnormal numbers for zero.
    """
    if is_complex(dtype):
        return jax.lax.complex(*(_nearest(part, real_of(dtype)) for part in (x.real, x.imag)))
    info = jnp.finfo(dtype)
    if info.nexp == jnp.finfo(x.dtype).nexp:
        return jax.lax.reduce_precision(x, info.nexp, info.nmant)
    return jax.lax.optimization_barrier(x.astype(dtype)).astype(x.dtype)


def _map(f: Callable, *trees: PyTree) -> PyTree:
    """`f` over the leaves of trees; where the first has `None`, the result has."""
    return jax.tree.map(
        lambda x, *rest: None if x is None else f(x, *rest), *trees, is_leaf=is_none
    )


@checked
def stochastic_rounding(seed: int = 0) -> GradientTransformationExtraArgs:
    """Round the parameters up or down at random, so that they are right on average.

        p + u = a neighbor of x = p + g in the dtype of p        E[p + u] = x

    Each neighbor's probability is the closeness of `x` to it. The random bits depend on `seed`,
    the step and the leaf's place alone, so a resumed run repeats them.

    Args:
        seed: seed of the random bits.

    Raises:
        ValueError: on `update`, without `params`.

    Source: Gupta et al. (2015), section 3.1.
    """

    def update(updates: PyTree, slots: dict, params: PyTree, h: Any, **extra: Any):
        del extra
        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        key = jax.random.fold_in(jax.random.key(seed), h.count)
        out = [
            g
            if g is None or not _is_low(p)
            else _at_random(g, p, jax.random.bits(jax.random.fold_in(key, i), p.shape, jnp.uint16))
            for i, (g, p) in enumerate(zip(leaves, treedef.flatten_up_to(params), strict=True))
        ]
        return treedef.unflatten(out), slots

    return transformation("stochastic_rounding", lambda params: {}, update, needs_params=True)


def _at_random(g: jax.Array, p: jax.Array, bits: jax.Array) -> jax.Array:
    dtype = compute_dtype(g, p)
    old = as_dtype(p, dtype)
    x = old + as_dtype(g, dtype)
    near = _nearest(x, p.dtype)
    error = x - near
    toward = jnp.where(error > 0, jnp.inf, -jnp.inf).astype(p.dtype)
    other = jnp.nextafter(near.astype(p.dtype), toward).astype(dtype)
    # bfloat16 drops 16 bits of float32, so 16 random ones give each neighbor its exact chance.
    chance = error / jnp.where(other == near, jnp.ones_like(near), other - near)
    go_far = bits.astype(dtype) / 2**16 < chance
    return (jnp.where(go_far, other, near) - old).astype(dtype_of(g))


def kahan_summation() -> GradientTransformationExtraArgs:
    """Carry what each sum loses to rounding into the next one.

        y  = g + compensation        p + u = round(p + y)        compensation' = y - u

    `compensation` is like `params`, also in dtype: two bytes a parameter for bfloat16, which then
    acts with 16 digits.

    Raises:
        ValueError: on `update`, without `params`.

    Source: Kahan (1965).
    """

    def update(updates: PyTree, slots: dict, params: PyTree, h: Any, **extra: Any):
        del h, extra

        def step(g: Any, c: Any, p: Any) -> tuple[Any, Any]:
            if g is None or not is_inexact(dtype_of(p)):
                return g, c
            dtype = compute_dtype(g, p)
            old, y = as_dtype(p, dtype), as_dtype(g, dtype) + as_dtype(c, dtype)
            u = (_nearest(old + y, dtype_of(p)) - old).astype(dtype_of(g))
            return u, (y - as_dtype(u, dtype)).astype(dtype_of(c))

        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        rest = (treedef.flatten_up_to(tree) for tree in (slots["compensation"], params))
        pairs = [step(*x) for x in zip(leaves, *rest, strict=True)]
        u, c = (treedef.unflatten([pair[i] for pair in pairs]) for i in (0, 1))
        return u, {"compensation": c}

    # With its dtype named, so that it is not weak where the parameter's is.
    zero = lambda p: jnp.zeros_like(p, dtype_of(p))
    init = lambda params: {"compensation": jax.tree.map(zero, params)}
    return transformation("kahan_summation", init, update, needs_params=True)


def _current(master: jax.Array, p: Any) -> jax.Array:
    """`master` where it rounds to `p`; where it doesn't, `p` was changed and counts."""
    p, wide = jnp.asarray(p), as_dtype(p, master.dtype)
    return jnp.where(_nearest(master, p.dtype) == wide, master, wide)


def master_weights(inner: optax.GradientTransformation) -> GradientTransformationExtraArgs:
    """Let `inner` work on a float32 copy of bfloat16 and float16 parameters.

        master' = master + inner(g, master)        p + u = round(master')

    `inner` sees float32 gradients and parameters. `master` is like `params`, in float32, and
    `None` for parameters that are float32 or wider already. A parameter that something else has
    changed since (a projection, a reload) is taken over into `master`.

    Args:
        inner: the transformation that gets the float32 gradients and parameters.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: on `update`, without `params`.

    Source: Micikevicius et al. (2018), section 3.1.
    """
    inner = as_transformation("master_weights", "`inner`", inner)
    wide = lambda m, p: p if m is None else m

    def copy(params: PyTree) -> PyTree:
        return jax.tree.map(lambda p: as_dtype(p, jnp.float32) if _is_low(p) else None, params)

    def init(params: PyTree) -> dict[str, Any]:
        master = copy(params)
        full = jax.tree.map(wide, master, params, is_leaf=is_none)
        return {"master": master, "inner": without_count(inner.init(full))}

    def update(updates: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        master = _map(_current, slots["master"], params)
        full = jax.tree.map(wide, master, params, is_leaf=is_none)
        grads = _map(lambda g: as_dtype(g, compute_dtype(g)), updates)
        u, state = update_inner(inner, grads, slots["inner"], full, h.count, **extra)
        new = _map(lambda m, d: m if d is None else m + as_dtype(d, m.dtype), master, u)
        move = lambda d, m, p: (
            d if m is None else _nearest(m, dtype_of(p)) - as_dtype(p, jnp.float32)
        )
        u = _map(move, u, new, params)
        return cast_like(u, updates), {"master": new, "inner": state}

    return transformation("master_weights", init, update, needs_params=True, parts=(inner,))
