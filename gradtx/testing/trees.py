"""The parameter trees that the laws are tried on."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from hypothesis import strategies as st

from gradtx.testing.strategies import Layer, structures

PyTree = Any


def _f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


VECTOR = {"w": _f32(3)}
NESTED = {"layers": [Layer(_f32(2, 3), _f32(3)), {}], "scale": (_f32(),)}
HALF = {"half": jax.ShapeDtypeStruct((3,), jnp.float16), "w": _f32(3)}
BRAIN = {"brain": jax.ShapeDtypeStruct((3,), jnp.bfloat16), "w": _f32(3)}
# float32 with either of the half dtypes, as models have them; hardly any has both.
DRAWN = (
    structures(dtypes=("float32", "bfloat16")) | structures(dtypes=("float32", "float16"))
).filter(jax.tree.leaves)
DRAWN_FLOAT32 = structures(dtypes=("float32",)).filter(jax.tree.leaves)


@functools.cache
def has_float16() -> bool:
    """Whether XLA compiles float16 here: on a CPU it needs F16C, instructions of 2012."""
    try:
        jax.jit(lambda x: x.astype(jnp.float16))(jnp.ones(3)).block_until_ready()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def recast(structure: PyTree, dtype: Any) -> PyTree:
    """The same shapes in another dtype."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), structure)


def trees(
    kind: str, templates: Sequence[PyTree] | None, *, low_precision: bool
) -> st.SearchStrategy[tuple[PyTree, PyTree]]:
    """The structures of (parameters, gradients) for a law that asks for trees of this kind.

    Few shapes, since each costs a compilation; "structures" and "mixed" are for laws that only
    trace, and draw freely. `templates`, trees of arrays or shapes, replace the default ones.
    """
    given = list(templates or [VECTOR, NESTED])
    given = [jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), t) for t in given]
    first = jax.tree.leaves(given[0])[0]
    rows = jax.ShapeDtypeStruct((8, *(first.shape[1:] if templates else (3,))), first.dtype)
    brain = recast(given[0], jnp.bfloat16)
    halves = [recast(given[0], jnp.float16), brain] if templates else [HALF, BRAIN]
    fixed = {
        "vector": given[:1],
        "plain": given,
        "nested": given[-1:],
        "pair": [{"a": first, "b": first}],
        "sharded": [{"w": rows} if templates else {"w": rows, "b": _f32(8)}],
        "bfloat16": [brain],
        "low": halves if kind != "low" or has_float16() else halves[1:],
    }
    if kind in fixed:
        return st.sampled_from(fixed[kind]).map(lambda tree: (tree, tree))
    if templates:
        drawn = st.sampled_from(given)
    else:
        drawn = DRAWN if low_precision else DRAWN_FLOAT32
    if kind == "structures":
        return drawn.map(lambda tree: (tree, tree))
    pairs = st.sampled_from(
        (("bfloat16", "float32"), ("float16", "float32"), ("float32", "bfloat16"))
    )
    return st.builds(lambda tree, pair: tuple(recast(tree, d) for d in pair), drawn, pairs)
