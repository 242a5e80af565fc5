"""Moments in 8 bits."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.settled import settled_init
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
    cast_state,
    compute_dtype,
    dtype_of,
    path_name,
    shape_of,
)
from gradtx.kinds import Whole, checked
from gradtx.wrappers.blockwise import blocks_that_differ, dequantize, quantize, spread

# What moments are called in the states of gradtx and of Optax.
MOMENTS = (
    *("mu", "nu", "nu_max", "m1", "m2", "trace", "velocity", "ema"),
    *("e_g", "e_x", "sum_of_squares"),
)


@checked
def quantize_moments(
    inner: optax.GradientTransformation,
    *,
    block_size: Whole = 256,
    min_size: Whole = 4096,
    moments: Sequence[str] = MOMENTS,
) -> GradientTransformationExtraArgs:
    """Keep the moments of an optimizer in 8 bits a number, and let it work on them in float32.

        u, state' = inner(g, dequantize(state))        quantize(state') is kept
        moment    = map[code] |scale|        a code for each number, a scale for each block

    `map` are 256 numbers between -1 and 1 that lie close near 0, without a sign where no number of
    the block is negative, as in second moments; a code is that of the nearest. A block that an
    update leaves as it is keeps its codes, so a leaf without a gradient does not drift.

    The state of `inner` has uint8 codes in the place of its moments; "scales" holds by their path a
    float32 for each block (float64 for moments of float64). With Adam that is 2.03 bytes a
    parameter in place of 8: 1 + 4 / block_size for each moment. Small leaves, such as biases and
    the scales of norms, stay as they are. So may embeddings, by `partition`, as the paper advises.

    The derivative of a training through its moments ends here: `gradtx.tuning.obstacles` says so.

    On a mesh codes lie where their parameter lies, since they have its shape. Blocks are of the
    flattened array: they are whole on a device where that holds whole rows of them, as it does if
    the parameter is split by its first axis; else XLA moves the codes for each update. Scales
    follow `leaf_spec`: split where the axis divides them, else whole everywhere.

    >>> import gradtx
    >>> tx = quantize_moments(gradtx.adam(0.1))
    >>> state = tx.init(jnp.zeros((64, 64)))
    >>> mu = state.slots["inner"][0].mu
    >>> mu.dtype.name, mu.shape, [x.shape for x in state.slots["scales"].values()]
    ('uint8', (64, 64), [(16,), (16,)])

    Args:
        inner: the transformation, or chain, whose moments are kept so; gradtx's or Optax's.
        block_size: how many numbers have one scale; the paper has 2048, its authors' package 256.
        min_size: leaves of fewer numbers are kept as they are.
        moments: how the slots or fields are called that hold moments; what else is like the
            parameters, such as averages of them, is kept as it is.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: on `init`, if its state holds no moments of that name.

    Source: Dettmers et al. (2022), "8-bit optimizers via block-wise quantization", section 2.
    """
    inner = as_transformation("quantize_moments", "`inner`", inner)
    names = frozenset([moments] if isinstance(moments, str) else moments)

    def init(params: PyTree) -> dict[str, Any]:
        state = without_count(settled_init(inner, params))
        found = dict(_moments(state, params, names))
        if not found and any(map(_is_floating, jax.tree.leaves(params))):
            raise ValueError(
                "quantize_moments: the state of `inner` must hold moments of the parameters, called"
                f" {', '.join(sorted(names))}; got none. Name its slots by `moments`, or leave"
                " `quantize_moments` out."
            )
        large = {name: x for name, x in found.items() if x.size >= min_size}
        pairs = {name: quantize(x, block_size) for name, x in large.items()}
        return {
            "inner": _replaced(state, {name: code for name, (code, _) in pairs.items()}),
            "scales": {name: scale for name, (_, scale) in pairs.items()},
        }

    def update(updates: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        scales = slots["scales"]
        leaves = {path_name(path): x for path, x in jax.tree.leaves_with_path(slots["inner"])}
        codes = {name: leaves[name] for name in scales}
        old = {name: dequantize(codes[name], scales[name], block_size) for name in scales}
        wide = _replaced(slots["inner"], old)
        u, state = update_inner(inner, updates, wide, params, h.count, **extra)
        state = cast_state("quantize_moments", state, wide)
        leaves = {path_name(path): x for path, x in jax.tree.leaves_with_path(state)}
        new_codes, new_scales = {}, {}
        for name, scale in scales.items():
            code, size = quantize(leaves[name], block_size)
            moved = blocks_that_differ(leaves[name], old[name], block_size)
            # Rounding twice is not rounding once: the largest number of a block may get smaller.
            new_codes[name] = jnp.where(spread(moved, code, block_size), code, codes[name])
            new_scales[name] = jnp.where(moved, size, scale)
        slots = {"inner": _replaced(state, new_codes), "scales": new_scales}
        return cast_like(u, updates), slots

    return transformation("quantize_moments", init, update, parts=(inner,), per_leaf=True)


def _is_floating(x: Any) -> bool:
    return jnp.issubdtype(dtype_of(x), jnp.floating)


def _moments(state: Any, params: PyTree, names: frozenset[str]) -> Iterator[tuple[str, jax.Array]]:
    """(path, value in at least float32) of what holds moments in a state.

    Its path ends with that of a parameter of its shape, and a name of a moment stands before that.
    """
    known = {(path, shape_of(p)) for path, p in jax.tree.leaves_with_path(params)}
    for path, x in jax.tree.leaves_with_path(state):
        ends = [i for i in range(1, len(path) + 1) if (path[i:], shape_of(x)) in known]
        if _is_floating(x) and any(_key(path[i - 1]) in names for i in ends):
            yield path_name(path), as_dtype(x, compute_dtype(x))


def _key(entry: Any) -> Any:
    """The name of a slot or a field in a path."""
    return getattr(entry, "name", getattr(entry, "key", None))


def _replaced(tree: Any, leaves: dict[str, Any]) -> Any:
    """`tree` with some of its leaves replaced, by path."""
    return jax.tree.map_with_path(lambda path, x: leaves.get(path_name(path), x), tree)
