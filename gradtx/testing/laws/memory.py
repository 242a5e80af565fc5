"""Laws of state: everything that is remembered is in the state, and lasts."""

import io
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradtx.testing.law import law
from gradtx.testing.run import compiled, compiled_init, flat, require, run, same_updates

PyTree = Any


def _rebuilt(subject: Any) -> dict[str, Any]:
    return {"rebuilt": subject.rebuilt()}


@law(trees="vector", steps=(2, 2), when=lambda c: c.deterministic, cost=3)
def pure(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Nothing is remembered outside the state: the same calls give the same results.

        update(g, s, p) = update(g, s, p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    first, second = (run(tx, params, grads, jit=False).updates for _ in range(2))
    same_updates(second, first, tolerance=0.0, what=("the second run gives", "the first"))


@law(trees="vector", steps=(2, 3), when=lambda c: c.deterministic, arguments=_rebuilt)
def resume_equals_uninterrupted(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, rebuilt: Any = None
) -> None:
    """A state that was written as bytes and read back goes on as if nothing had happened.

        update(g, load(save(s)), p) = update(g, s, p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        rebuilt: the transformation that goes on, made anew as after a restart; `tx` by default.
    """
    want, half = run(tx, params, grads).updates, len(grads) // 2
    state = through_bytes(run(tx, params, grads[:half]).state)
    rebuilt, got = rebuilt or tx, []
    for g in grads[half:]:
        u, state = compiled(rebuilt)(g, state, params)
        got.append(u)
    same_updates(got, want[half:], tolerance=0.0, what=("resumed", "uninterrupted"))


def through_bytes(state: PyTree) -> PyTree:
    """A state as a restart reads it: every leaf written in NumPy's format and read back."""

    def leaf(x: Any) -> Any:
        is_key = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        raw, file = jax.random.key_data(x) if is_key else x, io.BytesIO()
        raw = np.asarray(raw)
        # NumPy's format does not know bfloat16: the bytes go as integers.
        np.save(file, raw.view(f"u{raw.itemsize}") if raw.dtype.kind == "V" else raw)
        file.seek(0)
        back = jnp.asarray(np.load(file).view(raw.dtype))
        return jax.random.wrap_key_data(back, impl=jax.random.key_impl(x)) if is_key else back

    return jax.tree.map(leaf, state)


@law(trees="vector", steps=(1, 2), cost=3)
def extra_args_ignored(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """An extra argument meant for another transformation in the chain is passed over.

        update(g, s, p, unknown=x) = update(g, s, p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    aware = optax.with_extra_args_support(tx)
    state, got = aware.init(params), []
    for g in grads:
        u, state = aware.update(g, state, params, unknown_to_everyone=jnp.float32(7))
        got.append(u)
    want = run(tx, params, grads, jit=False).updates
    same_updates(got, want, tolerance=0.0, what=("with an extra argument", "without"))


@law(trees="vector", steps=(3, 3), cost=6)
def counter_saturates(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """A counter that reaches the end of its integer type stays there.

        count = 2^31 - 1  =>  count' = 2^31 - 1

    A counter is an integer scalar in the state that two updates raise by one each.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: three trees of gradients like `params`.
    """
    states = [compiled_init(tx)(params)]
    for g in grads[:2]:
        states.append(compiled(tx)(g, states[-1], params)[1])
    a, b, c = (flat(s) for s in states)
    is_int = lambda x: jnp.ndim(x) == 0 and jnp.issubdtype(jnp.result_type(x), jnp.integer)
    counters = {
        path
        for path, x in c.items()
        if x is not None
        and is_int(x)
        and path in a
        and path in b
        and x == b[path] + 1 == a[path] + 2
    }
    if not counters:
        return
    leaves, treedef = jax.tree.flatten(states[-1], is_leaf=lambda x: x is None)
    last = lambda x: jnp.full_like(x, jnp.iinfo(x.dtype).max)
    full = [last(x) if path in counters else x for path, x in zip(c, leaves, strict=True)]
    _, after = compiled(tx)(grads[2], treedef.unflatten(full), params)
    for path, x in flat(after).items():
        if path in counters:
            most = jnp.iinfo(x.dtype).max
            require(x == most, f"{path} goes from {most} to {x}")


@law(
    trees="vector",
    steps=(1, 1),
    when=lambda c: c.state_bytes is not None,
    arguments=lambda s: {"most": s.claims.state_bytes},
    cost=20,
)
def state_bytes(tx: Any, params: PyTree, grads: Sequence[PyTree], *, most: float) -> None:
    """The state takes as much memory as is claimed, for each parameter of a float32 matrix.

        bytes(init(p)) - bytes(init(q)) = c (n(p) - n(q))        p of 256 rows, q of 128

    Args:
        tx: the transformation, with `init` and `update`.
        params: not used.
        grads: not used.
        most: c, the claimed bytes for each parameter.
    """
    del params, grads

    def size(rows: int) -> int:
        like = {"kernel": jax.ShapeDtypeStruct((rows, 64), jnp.float32)}
        leaves = jax.tree.leaves(jax.eval_shape(tx.init, like))
        return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in leaves)

    got = (size(256) - size(128)) / (128 * 64)
    require(abs(got - most) <= 0.01, f"{got:.4g} bytes for each parameter, not {most:.4g}")


@law(trees="vector", steps=(1, 1), when=lambda c: c.needs_params is True, cost=20)
def requires_params(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """What needs the parameters says so when they are missing.

        update(g, s, None)  raises ValueError

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    try:
        tx.update(grads[0], tx.init(params), None)
    except ValueError:
        return
    require(False, "update(g, s, None) returned")


@law(trees="vector", when=lambda c: c.needs_params is False, cost=3)
def params_are_optional(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """What does not need the parameters gives the same without them.

        update(g, s, None) = update(g, s, p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    state, got = tx.init(params), []
    for g in grads:
        u, state = tx.update(g, state)
        got.append(u)
    want = run(tx, params, grads, jit=False).updates
    same_updates(got, want, tolerance=0.0, what=("without params", "with"))
