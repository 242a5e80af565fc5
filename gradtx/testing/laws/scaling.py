"""Laws of scale: of the loss, of the units of things, and of how far training gets."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.testing.law import law, with_tolerance
from gradtx.testing.laws.hyperparams import traced_factory
from gradtx.testing.run import (
    disturbed,
    flat,
    jitted,
    map_floats,
    require,
    run,
    same_updates,
    to_float64,
)

PyTree = Any

FALL = 1e-3  # of the distance, in as many steps as the claimed rate needs for it
MOST_STEPS = 2000


def _scaled(tree: PyTree, factor: float) -> PyTree:
    return map_floats(lambda x: factor * to_float64(x), tree)


@law(
    when=lambda c: c.scale_invariant,
    draws=("loss_scale",),
    arguments=with_tolerance,
    cost=3,
)
def loss_scale(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, loss_scale: float, tolerance: float
) -> None:
    """A loss that is scaled up as for mixed precision, and not down again, changes nothing.

        u(a g) = u(g)        a = 2^10 .. 2^16, for |g| well above the transformation's `eps`

    It is `scale_invariant` far out, where a clip, a float16 or a sum of squares has its end.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        loss_scale: the factor of the loss.
        tolerance: largest relative difference that is rounding.
    """
    bigger = [_scaled(g, loss_scale) for g in grads]
    got, want = run(tx, params, bigger).updates, run(tx, params, grads).updates
    what, again = (f"u({loss_scale:.0f} g) is", "u(g)"), disturbed(tx, params, grads)
    same_updates(got, want, tolerance=tolerance, what=what, again=again)


def _of_units(subject: Any) -> dict[str, Any]:
    claims = subject.claims
    return {
        "hyperparams": dict(claims.hyperparams),
        "exponents": dict(claims.units or {}),
        "tolerance": claims.tolerance,
    }


@law(
    when=lambda c: c.units is not None,
    of_factory=True,
    trees="vector",
    draws=("length", "energy"),
    arguments=_of_units,
)
def units(
    factory: Callable,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    hyperparams: Mapping[str, float],
    exponents: Mapping[str, tuple[float, float]],
    length: float,
    energy: float,
    tolerance: float,
) -> None:
    """The units of parameters and loss mean nothing, if each hyperparameter is given in its own.

        u(a / c g, c p; h c^i a^j) = c u(g, p; h)        c = length, a = energy, (i, j) = exponents

    A learning rate of Adam is a length of parameters, (1, 0), that of SGD one squared over a loss,
    (2, -1). A wrong power of one of them gives another update.

    Args:
        factory: the function that makes the transformation, `factory(**hyperparams)`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        hyperparams: the hyperparameters and their values.
        exponents: for a hyperparameter its powers of the units of parameters and of the loss;
            those that it does not name are plain numbers.
        length: what the unit of parameters is divided by.
        energy: what the unit of the loss is divided by.
        tolerance: largest relative difference that is rounding.
    """
    init, update = traced_factory(factory)

    def updates(c: float, a: float) -> list[PyTree]:
        values = {}
        for name, h in hyperparams.items():
            i, j = exponents.get(name, (0, 0))
            values[name] = jnp.float32(h * c**i * a**j)
        p = _scaled(params, c)
        state, out = init(values, p), []
        for g in grads:
            u, state = update(values, _scaled(g, a / c), state, p)
            out.append(u)
        return out

    want = [_scaled(u, length) for u in updates(1.0, 1.0)]
    tx = factory(**hyperparams)
    again = lambda seed: [_scaled(u, length) for u in disturbed(tx, params, grads)(seed)]
    what = (f"with parameters in 1/{length} and loss in 1/{energy} of their units", "before")
    same_updates(updates(length, energy), want, tolerance=10 * tolerance, what=what, again=again)


@lru_cache(maxsize=16)
def _descent(tx: Any, steps: int) -> Callable:
    def descend(params: PyTree, best: PyTree) -> PyTree:
        def step(carry: tuple[PyTree, PyTree], _: None) -> tuple[Any, None]:
            p, state = carry
            u, state = tx.update(jax.tree.map(_slope, p, best), state, p)
            return (jax.tree.map(jnp.add, p, u), state), None

        return jax.lax.scan(step, (params, tx.init(params)), None, length=steps)[0][0]

    return jitted(descend)


def _curvatures(shape: tuple[int, ...]) -> np.ndarray:
    """Second derivatives from 1/4 to 1."""
    return np.geomspace(0.25, 1, max(int(np.prod(shape)), 1), dtype=np.float32).reshape(shape)


def _slope(p: Any, best: Any) -> Any:
    return _curvatures(p.shape).astype(p.dtype) * (p - best)


@law(
    when=lambda c: c.converges is not None,
    trees="vector",
    steps=(1, 1),
    draws=("other_params",),
    arguments=lambda s: {"rate": s.claims.converges},
    cost=3,
)
def converges(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, other_params: PyTree, rate: float
) -> None:
    """On a convex quadratic the distance from the minimum falls at the claimed rate.

        |p_t - q| <= 10 r^t |p_0 - q|,  r^t = 1/1000,  on  f(p) = sum_i h_i (p_i - q_i)^2 / 2

    The curvatures h go from 1/4 to 1, and `p + u` is the step; it takes no more than 2000. What
    stays within 1e-5 of the largest number is rounding.

    Args:
        tx: the transformation, with `init` and `update`.
        params: where it starts, a tree.
        grads: not used.
        other_params: the minimum q, a tree like `params`.
        rate: r, what a step multiplies the distance by in the long run.
    """
    del grads
    require(0 < rate < 1, f"the claimed rate is {rate}, which is no number between 0 and 1")
    steps = min(math.ceil(math.log(FALL) / math.log(rate)), MOST_STEPS)
    end = flat(_descent(tx, steps)(params, other_params))
    for path, x in end.items():
        start, best = to_float64(flat(params)[path]), to_float64(flat(other_params)[path])
        distance = lambda p, q: float(np.linalg.norm(p - q))
        size = max(np.max(np.abs(start), initial=0), np.max(np.abs(best), initial=0))
        bound = 10 * rate**steps * distance(start, best) + 1e-5 * float(size)
        got = distance(to_float64(x), best)
        require(got <= bound, f"{path} is {got:.3g} from its minimum, more than {bound:.3g}")
