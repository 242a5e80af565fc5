"""Laws of JAX's transformations: what holds in Python holds compiled, scanned, mapped, sharded."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradtx.testing.law import law, with_tolerance
from gradtx.testing.run import (
    compiled,
    disturbed,
    flat,
    jitted,
    require,
    run,
    same_updates,
)

PyTree = Any


@law(trees="vector", arguments=with_tolerance, cost=3)
def jit_equals_eager(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """Compiling changes nothing but speed.

        jit(update)(g, s, p) = update(g, s, p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    got, want = run(tx, params, grads), run(tx, params, grads, jit=False)
    again = disturbed(tx, params, grads)
    what = ("jit gives", "eager")
    same_updates(got.updates, want.updates, tolerance=tolerance, what=what, again=again)


@law(trees="vector", cost=20)
def init_is_traceable(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """`init` needs shapes and dtypes only, so that a state can be made sharded or on no device.

        eval_shape(init, p)  has the tree, shapes and dtypes of  init(p)

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: not used.
    """
    del grads
    spec = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]
    got, want = jax.eval_shape(tx.init, params), jax.eval_shape(lambda s: s, tx.init(params))
    require(
        jax.tree.structure(got) == jax.tree.structure(want) and spec(got) == spec(want),
        f"traced, init gives {got}; on arrays {want}",
    )


@law(trees="vector", steps=(3, 3), cost=20)
def traced_once(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """Updates that differ in values alone are traced, and so compiled, once.

        traces(jit(update)) = 1  over any run

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    traces = []

    def update(g: PyTree, state: PyTree, p: PyTree) -> tuple[PyTree, PyTree]:
        traces.append(None)
        return tx.update(g, state, p)

    state, update = tx.init(params), jitted(update)
    for g in grads:
        _, state = update(g, state, params)
    weak = [p for p, x in flat(tx.init(params)).items() if getattr(x, "weak_type", False)]
    why = f"; weakly typed in init's state: {', '.join(weak)}" if weak else ""
    require(len(traces) == 1, f"{len(traces)} traces in {len(grads)} updates{why}")


@lru_cache(maxsize=16)
def _scanned(tx: Any) -> Callable:
    def loop(state: PyTree, params: PyTree, grads: PyTree) -> PyTree:
        def body(state: PyTree, g: PyTree) -> tuple[PyTree, PyTree]:
            u, state = tx.update(g, state, params)
            return state, u

        return jax.lax.scan(body, state, grads)[1]

    return jitted(loop)


@law(trees="vector", steps=(3, 3), arguments=with_tolerance)
def scan_equals_loop(tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float) -> None:
    """A scan over gradients gives what a Python loop gives.

        scan(update, init(p), [g_1 .. g_n]) = [u_1 .. u_n]

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    stacked = _scanned(tx)(tx.init(params), params, _stack(grads))
    got = [jax.tree.map(lambda x: x[t], stacked) for t in range(len(grads))]  # noqa: B023
    want, again = run(tx, params, grads).updates, disturbed(tx, params, grads)
    same_updates(got, want, tolerance=tolerance, what=("scan gives", "the loop"), again=again)


@lru_cache(maxsize=16)
def _mapped(tx: Any) -> tuple[Callable, Callable]:
    return jitted(jax.vmap(tx.init)), jitted(jax.vmap(lambda g, s, p: tx.update(g, s, p)))


@law(trees="vector", draws=("other", "other_params"), arguments=with_tolerance)
def vmap_equals_loop(
    tx: Any,
    params: PyTree,
    grads: Sequence[PyTree],
    *,
    other: Sequence[PyTree],
    other_params: PyTree,
    tolerance: float,
) -> None:
    """Many runs at once, mapped over parameters and gradients, do not mix.

        vmap(update)([g, h], vmap(init)([p, q]), [p, q]) = [update(g, ..p), update(h, ..q)]

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        other: the gradients of the second run.
        other_params: the parameters of the second run.
        tolerance: largest relative difference that is rounding.
    """
    init, update = _mapped(tx)
    both = _stack([params, other_params])
    state, got = init(both), []
    for pair in zip(grads, other, strict=True):
        u, state = update(_stack(pair), state, both)
        got.append(u)
    for i, (p, gs) in enumerate(((params, grads), (other_params, other))):
        mine = [jax.tree.map(lambda x: x[i], u) for u in got]  # noqa: B023
        want, again = run(tx, p, gs).updates, disturbed(tx, p, gs)
        what = ("vmap gives", "alone")
        same_updates(mine, want, tolerance=tolerance, what=what, again=again)


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *xs: jnp.stack(xs), *trees)


@law(trees="nested", steps=(1, 1), cost=20)
def donate_safe(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """No two leaves of (params, state) share a buffer, so both can be donated to a step.

        buffer(x) = buffer(y)  =>  x is y,  for leaves x, y of (p, init(p))

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: not used.
    """
    del grads
    owner: dict[int, str] = {}
    for path, x in flat({"params": params, "state": tx.init(params)}).items():
        if not isinstance(x, jax.Array) or x.size == 0:
            continue
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        buffer = x.unsafe_buffer_pointer()
        require(buffer not in owner, f"{path} and {owner.get(buffer)} share one buffer")
        owner[buffer] = path


def _over_two_devices() -> NamedSharding:
    """The leading axis of an array on two devices, a half on each."""
    return NamedSharding(Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data"))


@law(trees="sharded", steps=(2, 2), arguments=with_tolerance, cost=6)
def sharded_equals_single(
    tx: Any, params: PyTree, grads: Sequence[PyTree], *, tolerance: float
) -> None:
    """Spreading the leading axis of every leaf over two devices changes nothing.

        update(shard(g), init(shard(p)), shard(p)) = update(g, init(p), p)

    The axis must be even. A CPU becomes two devices with
    `XLA_FLAGS=--xla_force_host_platform_device_count=2`.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
        tolerance: largest relative difference that is rounding.
    """
    want, again = run(tx, params, grads).updates, disturbed(tx, params, grads)
    split = _over_two_devices()
    spread = lambda tree: jax.device_put(tree, split)
    params = spread(params)
    state, got = tx.init(params), []
    for g in grads:
        u, state = compiled(tx)(spread(g), state, params)
        got.append(u)
    same_updates(got, want, tolerance=tolerance, what=("sharded", "single device"), again=again)


@law(trees="sharded", steps=(1, 1), when=lambda c: c.keeps_sharding, cost=20)
def sharding_is_kept(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> None:
    """What the state keeps of a parameter lies where the parameter does.

        shape(s_i) = shape(p_i)  =>  sharding(s_i) = sharding(p_i),  from init and after update

    For arrays of the state that have a parameter's shape. The leading axis is spread over two
    devices, as in `sharded_equals_single`.

    Args:
        tx: the transformation, with `init` and `update`.
        params: a tree of parameters.
        grads: a tree of gradients like `params` for each update.
    """
    split = _over_two_devices()
    spread = lambda tree: jax.device_put(tree, split)
    params, g = spread(params), spread(grads[0])
    state = tx.init(params)
    _, after = compiled(tx)(g, state, params)
    shapes = {leaf.shape for leaf in jax.tree.leaves(params)}
    for name, tree in {"init's state": state, "the state": after}.items():
        for path, x in flat(tree).items():
            if not isinstance(x, jax.Array) or x.shape not in shapes:
                continue
            kept = x.sharding.is_equivalent_to(split, x.ndim)
            require(kept, f"{path} of {name} is on {x.sharding}, its parameter on {split}")
