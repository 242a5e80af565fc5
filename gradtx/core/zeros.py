"""Which updates of an optimizer are zero whatever the gradients are: what it freezes."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from gradtx.core.tree import PyTree, shape_of

# Zero if all that they are given is.
KEEPS = frozenset(
    """abs add add_any broadcast_in_dim concatenate convert_element_type copy cumsum expand_dims max
    min neg pad real reduce_max reduce_min reduce_precision reduce_sum reshape rev sign slice sqrt
    square squeeze sub tanh transpose""".split()
)
PRODUCTS = frozenset({"mul", "dot_general"})
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def never_moves(
    init: Callable[[PyTree], Any], update: Callable[..., tuple[Any, Any]], params: PyTree
) -> tuple[bool, ...]:
    """For each parameter whether its update is zero at every step, whatever the gradients are.

    So is one that is frozen, by gradtx or by Optax: by `set_to_zero` in a partition, by a mask, by
    gradients set to zero before Adam and not decayed. It is found in the program, by following
    zeros from the first state on through all steps: a sum of zeros and a product with one are zero.
    What is not followed, such as a loop, counts as a number. Numbers of the state without axes may
    be set from outside, and count so as well.

    Args:
        init: params -> the first state of an optimizer.
        update: (grads, state, params) -> (updates, state).
        params: the parameters, or their shapes.
    """
    begin = jax.make_jaxpr(init)(params)
    state = jax.eval_shape(init, params)
    program = jax.make_jaxpr(update)(params, state, params)
    shapes = jax.tree.leaves(state)
    count, of_state = len(jax.tree.leaves(params)), len(shapes)
    given = [False] * count
    zero = _zeros(begin, given)
    zero = [x and bool(shape_of(s)) for x, s in zip(zero, shapes, strict=True)]
    while True:
        out = _zeros(program, [*given, *zero, *given])
        updates, after = out[:count], out[count : count + of_state]
        both = [a and b for a, b in zip(zero, after, strict=True)]
        if both == zero:
            return tuple(updates)
        zero = both


def _zeros(closed: Any, given: list[bool]) -> list[bool]:
    """Which results of a program are zero, if these of its arguments are."""
    known: dict[Any, bool] = dict(zip(closed.jaxpr.invars, given, strict=True))
    known |= {v: _is_zero(x) for v, x in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
    read = lambda x: _is_zero(x.val) if isinstance(x, Literal) else known[x]
    for equation in closed.jaxpr.eqns:
        known |= dict(
            zip(equation.outvars, _step(equation, [*map(read, equation.invars)]), strict=True)
        )
    return [*map(read, closed.jaxpr.outvars)]


def _step(equation: Any, zero: list[bool]) -> list[bool]:
    name, results = equation.primitive.name, len(equation.outvars)
    inner = [equation.params[key] for key in CALLS if key in equation.params]
    if name == "cond":
        branches = [_zeros(branch, zero[1:]) for branch in equation.params["branches"]]
        return [all(each) for each in zip(*branches, strict=True)]
    called = name not in ("scan", "while") and len(inner) == 1 and hasattr(inner[0], "consts")
    if called and len(inner[0].jaxpr.invars) == len(zero):
        return _zeros(inner[0], zero)
    if name == "optimization_barrier":
        return zero
    if name in PRODUCTS:
        return [any(zero)]
    if name == "div" or (name == "integer_pow" and equation.params["y"] > 0):
        return [zero[0]]
    if name == "select_n":
        return [all(zero[1:])]
    return [name in KEEPS and all(zero)] * results


def _is_zero(x: Any) -> bool:
    """Of a number in the program, which is there already."""
    try:
        return not np.any(np.asarray(x))
    except TypeError:
        return False  # a key, a thing without a value
