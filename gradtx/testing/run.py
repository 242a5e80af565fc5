"""Run a transformation over a few gradients, and compare two runs."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.tree import is_none, path_name
from gradtx.testing.law import Broken

PyTree = Any


class Run(NamedTuple):
    """The updates of each step and the last state."""

    updates: list[PyTree]
    state: PyTree


# XLA's options for the CPU that compile a small program about seven times faster.
HURRY = {
    "xla_llvm_disable_expensive_passes": True,
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_use_fusion_emitters": False,
}


@lru_cache(maxsize=1)
def _hurry() -> dict[str, Any] | None:
    """The options of `HURRY` that this JAX knows; None where the backend is no CPU."""
    if jax.default_backend() != "cpu":
        return None
    lowered, known = jax.jit(lambda: 0).lower(), {}
    for name, value in HURRY.items():
        try:
            lowered.compile(compiler_options={name: value})
        except jax.errors.JaxRuntimeError:  # "No such compile option"
            continue
        known[name] = value
    return known or None


def jitted(function: Callable) -> Callable:
    """`function` under jit, compiled in a hurry: it will run for microseconds."""
    return jax.jit(function, compiler_options=_hurry())


@lru_cache(maxsize=32)
def compiled(tx: Any) -> Callable:
    """`tx.update` under jit: one function for one `tx`, so that nothing compiles twice."""
    return jitted(lambda g, state, params: tx.update(g, state, params))


@lru_cache(maxsize=32)
def compiled_init(tx: Any) -> Callable:
    """`tx.init` under jit."""
    return jitted(lambda params: tx.init(params))


def run(tx: Any, params: PyTree, grads: Iterable[PyTree], *, jit: bool = True) -> Run:
    """Update once for each of `grads`. The parameters stay where they are."""
    init, update = (compiled_init(tx), compiled(tx)) if jit else (tx.init, tx.update)
    state, out = init(params), []
    for g in grads:
        u, state = update(g, state, params)
        out.append(u)
    return Run(out, state)


def require(condition: Any, details: str) -> None:
    """Break the law that is being checked unless `condition` holds."""
    if not condition:
        raise Broken(details)


def flat(tree: PyTree) -> dict[str, Any]:
    """The leaves of `tree` by path, `None` among them."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_none)
    return {path_name(path): leaf for path, leaf in leaves}


def to_float64(leaf: Any) -> np.ndarray:
    """A leaf of any dtype, PRNG keys too, as NumPy float64 (complex stays complex)."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def map_floats(f: Callable, tree: PyTree, *rest: PyTree) -> PyTree:
    """`f` on each leaf; each result in the dtype of the leaf of `tree`."""
    return jax.tree.map(lambda x, *ys: jnp.asarray(f(x, *ys), x.dtype), tree, *rest)


def same_updates(
    got: Sequence[PyTree],
    want: Sequence[PyTree],
    *,
    tolerance: float,
    what: tuple[str, str],
    again: Callable[[int], Sequence[PyTree]] | None = None,
) -> None:
    """Require that two runs gave the same updates, leaf by leaf and step by step.

        |got - want| <= tolerance max |want| over the run's leaf

    `what` names the two sides. Where this fails, `again(seed)` reruns one side with inputs
    disturbed by a few units in the last place, `again(0)` with none; a difference that is no
    larger than what the disturbances make is rounding and no defect.
    """
    noise = None
    for t, (a, b) in enumerate(zip(got, want, strict=True)):
        left, right = flat(a), flat(b)
        require(
            list(left) == list(right),
            f"update {t}: {what[0]} has the leaves {list(left)}, {what[1]} {list(right)}",
        )
        for path in left:
            place = _difference(path, t, got, want, tolerance)
            if place is None:
                continue
            if noise is None and again is not None:
                noise = [again(seed) for seed in range(4)]
            if noise and _explained(path, t, got, want, noise):
                continue
            index, x, y = place
            raise Broken(f"update {t} at {path}{index}: {what[0]} {x:.7g}, {what[1]} {y:.7g}")


def _leaf(tree: PyTree, path: str) -> Any:
    leaf = flat(tree)[path]
    return None if leaf is None else to_float64(leaf)


def _difference(path: str, t: int, got: Any, want: Any, tolerance: float) -> Any:
    a, b = _leaf(got[t], path), _leaf(want[t], path)
    if a is None or b is None:
        return None if a is b else ("", np.nan if a is None else a.flat[0], np.nan)
    require(a.shape == b.shape, f"update {t} at {path}: shapes {a.shape} and {b.shape}")
    seen = [np.abs(_leaf(u, path)) for u in want]
    finite = [s[np.isfinite(s)] for s in seen]
    scale = max((float(s.max()) for s in finite if s.size), default=0.0)
    with np.errstate(invalid="ignore"):
        close = (np.abs(a - b) <= tolerance * scale + 1e-30) | (a == b)
    close |= np.isnan(a) & np.isnan(b)
    if close.all():
        return None
    index = np.unravel_index(int(np.argmin(close)), a.shape)
    shown = str([int(i) for i in index]) if index else ""
    return shown, a[index], b[index]


def _explained(path: str, t: int, got: Any, want: Any, noise: Sequence[Any]) -> bool:
    a, b = _leaf(got[t], path), _leaf(want[t], path)
    with np.errstate(invalid="ignore"):
        still, *shaken = (_leaf(n[t], path) for n in noise)
        spread = np.max([np.abs(x - still) for x in shaken], axis=0)
        return bool(np.all((np.abs(a - b) <= 16 * spread + 1e-30) | (a == b)))


def disturbed(tx: Any, params: PyTree, grads: Sequence[PyTree]) -> Callable[[int], list[PyTree]]:
    """For `same_updates`: the updates of inputs off by up to two units in the last place."""

    def again(seed: int) -> list[PyTree]:
        if seed == 0:
            return run(tx, params, grads).updates
        rng = np.random.default_rng(seed)

        def shake(x: Any) -> Any:
            noise = rng.integers(-2, 3, size=jnp.shape(x)) * float(jnp.finfo(x.dtype).eps)
            return jnp.asarray(to_float64(x) * (1 + noise), x.dtype)

        return run(tx, jax.tree.map(shake, params), [jax.tree.map(shake, g) for g in grads]).updates

    return again
