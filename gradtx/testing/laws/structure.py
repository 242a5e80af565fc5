"""Laws of structure: trees in, trees of the same kind out."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.testing.law import law, with_tolerance
from gradtx.testing.run import flat, require, run, same_updates, to_float64

PyTree = Any


@law(trees="vector", steps=(1, 1), cost=20)
def returns(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """An update from a fresh state returns. No other law is tried on what does not.

        update(g, init(p), p)  returns (updates, state)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    result = tx.update(grads[0], tx.init(params), params)
    require(
        isinstance(result, tuple) and len(result) == 2,
        f"update returned {type(result).__name__}, not (updates, state)",
    )


@law(trees="structures")
def updates_match_gradients(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """An update has the tree, the shapes and the dtypes of the gradient.

        structure(u) = structure(g)        shape(u_i) = shape(g_i)        dtype(u_i) = dtype(g_i)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    updates, _ = jax.eval_shape(tx.update, grads[0], tx.init(params), params)
    _require_same("updates", updates, "gradients", grads[0])


@law(trees="structures")
def state_is_fixed_point(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """An update leaves the state's tree, shapes and dtypes as `init` made them.

        s = init(p),  s' = update(g, s, p)[1]  =>  tree, shapes and dtypes of s' are those of s

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    state = tx.init(params)
    _, after = jax.eval_shape(tx.update, grads[0], state, params)
    _require_same("state after update", after, "state from init", state)


@law(trees="mixed", when=lambda c: c.low_precision and c.mixed_precision)
def state_is_fixed_point_mixed(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """The same where gradients and parameters have different dtypes.

        dtype(g_i) != dtype(p_i)  =>  tree, shapes and dtypes of s' are those of s

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: trees of gradients like `params`, of another dtype.
    """
    state = tx.init(params)
    _, after = jax.eval_shape(tx.update, grads[0], state, params)
    _require_same("state after update", after, "state from init", state)


def _require_same(name: str, tree: PyTree, like_name: str, like: PyTree) -> None:
    a, b = jax.tree.structure(tree), jax.tree.structure(like)
    require(a == b, f"{name} has the tree {a}, {like_name} {b}")
    spec = lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}"
    ours, theirs = flat(tree), flat(like)
    for path, leaf in ours.items():
        if leaf is None:
            continue
        x, y = spec(leaf), spec(theirs[path])
        require(x == y, f"{name} is {x} at {path}, {like_name} {y}")


@law(trees="vector", steps=(2, 2), arguments=with_tolerance, cost=6)
def none_leaves(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """`None` in parameters and gradients alike is no leaf: it stays, and changes nothing else.

        update({a: g, b: None}, init({a: p, b: None}), {a: p, b: None})
            = {a: update(g, ...), b: None}

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    inside = lambda tree: {"a": tree, "b": None, "c": [None]}
    got = run(tx, inside(params), [inside(g) for g in grads], jit=False).updates
    for u in got:
        require(u["b"] is None and u["c"] == [None], f"the update holds {u['b']!r} for None")
    want = run(tx, {"a": params}, [{"a": g} for g in grads], jit=False).updates
    same_updates(
        [{"a": u["a"]} for u in got],
        want,
        tolerance=tolerance,
        what=("with None leaves", "without"),
    )


@law(trees="pair", when=lambda c: c.none_gradients)
def none_gradients(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """A leaf whose gradient is `None` is passed over: no update for it, and its state is kept.

        update({a: g, b: None}, s, {a: p, b: q}) = {a: u, b: None}

    Args:
        tx: the transformation, with `init` and `update`.
        params: a dict of two parameters, "a" and "b".
        grads: a tree of gradients like `params` for each update.
    """
    state = tx.init(params)
    partial = grads[0] | {"b": None}
    updates, after = tx.update(partial, state, params)
    require(updates["b"] is None, f"the update for a None gradient is {updates['b']!r}")
    require(updates["a"] is not None, "the update for the other leaf is None")
    _require_same("state after update", after, "state from init", state)


@law(trees="vector", steps=(1, 1), cost=3)
def zero_size_leaves(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """A leaf without elements is updated to one, and leaves the others finite.

        shape(p_i) = (0, n)  =>  shape(u_i) = (0, n),  and u is finite

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    empty = lambda tree: {"full": tree, "none": jnp.zeros((0, 3)), "nil": jnp.zeros(0)}
    updates = run(tx, empty(params), [empty(grads[0])]).updates[0]
    for path, shape in (("none", (0, 3)), ("nil", (0,))):
        require(updates[path].shape == shape, f"the update of {shape} is {updates[path].shape}")
    for path, leaf in flat(updates).items():
        require(np.isfinite(to_float64(leaf)).all(), f"the update at {path} is not finite")


@law(trees="vector", steps=(1, 1), cost=20)
def empty_tree(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """A tree without leaves passes through.

        update({}, init({}), {}) = {}, s'

    Args:
        tx: the transformation, with `init` and `update`.
        params: not used.
        grads: not used.
    """
    del params, grads
    updates, _ = tx.update({}, tx.init({}), {})
    require(updates == {}, f"the update of an empty tree is {updates!r}")


@law(trees="vector", steps=(1, 1), cost=6)
def inputs_untouched(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Neither the gradients nor the state nor the parameters are changed in place.

        (g, s, p) after update(g, s, p) are the same objects with the same leaves

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    state = tx.init(params)
    inputs = {"gradients": grads[0], "state": state, "parameters": params}
    before = {name: jax.tree.flatten(tree) for name, tree in inputs.items()}
    tx.update(grads[0], state, params)
    for name, tree in inputs.items():
        leaves, treedef = jax.tree.flatten(tree)
        old, old_def = before[name]
        same = treedef == old_def and all(a is b for a, b in zip(leaves, old, strict=True))
        require(same, f"update changed the {name} that it was given")
