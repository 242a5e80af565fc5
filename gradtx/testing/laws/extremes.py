"""Laws of extreme numbers: huge, tiny, not a number, and of few digits."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.testing.law import law
from gradtx.testing.run import compiled_init, flat, require, run, same_updates, to_float64

PyTree = Any


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)


@law(when=lambda c: c.finite, elements="wild")
def finite(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Finite gradients give finite updates and a finite state.

        g_t, p finite, |g_t| <= 1e15  =>  u_t, s_t finite

    Zero gradients, zero parameters and subnormal numbers are among them.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    _require_finite(tx, params, grads)


@law(when=lambda c: c.finite and c.low_precision, elements="wild", trees="low")
def finite_low_precision(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """The same in bfloat16 and float16, whose squares overflow and whose small eps is zero.

        g_t, p finite, |g_t| <= 1e15 (float16: 1e3)  =>  u_t, s_t finite

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    _require_finite(tx, params, grads)


def _require_finite(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    for start in (params, _zeros(params)):
        updates, state = run(tx, start, grads)
        for t, u in enumerate(updates):
            for path, leaf in flat(u).items():
                fine = leaf is None or np.isfinite(to_float64(leaf)).all()
                shown = None if leaf is None else to_float64(leaf).tolist()
                require(fine, f"update {t} at {path} is {shown}, of finite gradients")
        # A state that starts at infinity (a best loss, say) may stay there.
        fresh = flat(compiled_init(tx)(start))
        is_finite = lambda leaf: leaf is None or np.isfinite(to_float64(leaf)).all()
        for path, leaf in flat(state).items():
            fine = is_finite(leaf) or not is_finite(fresh.get(path))
            require(fine, f"the state at {path} is not finite, of finite gradients")


@law(when=lambda c: c.skips_nonfinite, draws=("place", "bad"))
def skips_nonfinite(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, place: int, bad: float
) -> None:
    """A gradient with a NaN or an infinity is skipped and leaves no trace.

        u(g_1 .. g_k, bad, g_k+1 .. g_n) = u_1 .. u_k, 0, u_k+1 .. u_n        k = place

    `bad` stands in the first number of the first leaf.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        place: number of gradients before the bad one, taken modulo all of them and one.
        bad: NaN or an infinity.
    """
    k = place % (len(grads) + 1)
    leaves, treedef = jax.tree.flatten(grads[0])
    first = jnp.full_like(leaves[0].reshape(-1)[:1], bad)
    leaves[0] = jnp.concatenate([first, leaves[0].reshape(-1)[1:]]).reshape(leaves[0].shape)
    poisoned = [*grads[:k], treedef.unflatten(leaves), *grads[k:]]
    got, want = run(tx, params, poisoned).updates, run(tx, params, grads).updates
    want.insert(k, _zeros(grads[0]))
    what = (f"with {bad} before gradient {k}", "without it")
    same_updates(got, want, tolerance=1e-6, what=what)


@law(when=lambda c: c.computes_in_float32 and c.low_precision, trees="bfloat16", steps=(4, 8))
def computes_in_float32(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """bfloat16 is how numbers come and go, not how they are calculated with.

        u(g, p) = bfloat16(u(float32(g), float32(p)))

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters in bfloat16.
        grads: a tree of gradients like `params` for each update.
    """
    up = lambda tree: jax.tree.map(lambda x: x.astype(jnp.float32), tree)
    low = run(tx, params, grads).updates
    high = run(tx, up(params), [up(g) for g in grads]).updates
    for t, (a, b) in enumerate(zip(low, high, strict=True)):
        wide = flat(b)
        for path, leaf in flat(a).items():
            got, want = to_float64(leaf), to_float64(wide[path])
            _, exponent = np.frexp(want)
            half_ulp = np.exp2(exponent - 9.0)
            near = np.abs(got - want) <= 1.01 * half_ulp + 1e-30
            shown = f"{got.tolist()}; in float32 it is {want.tolist()}"
            require(np.all(near | (got == want)), f"update {t} at {path} is {shown}")
