"""Hypothesis strategies for what a gradient transformation meets.

Trees come in two steps, so that shapes, which cost a compilation, can be drawn seldom and values
often: `structures()` draws a tree of `jax.ShapeDtypeStruct`, `values(structure)` arrays for it.
Everything shrinks: to fewer leaves, to one, to the first of the listed values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import gradtx
from gradtx.core.hyperparams import Interval
from gradtx.loop import Hook, Request
from gradtx.testing.fixture import ASKING

PyTree = Any


@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=[])
@dataclass
class Layer:
    """A dataclass among the containers, as Equinox's and Flax's modules are.

    Args:
        kernel: the weights, an array or a tree.
        bias: the bias, an array or a tree.
    """

    kernel: Any
    bias: Any


DTYPES = ("float32", "bfloat16", "float16")
SHAPES = ((3,), (), (2, 3), (1,))


def leaves(
    *, dtypes: Sequence[str] = DTYPES, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> st.SearchStrategy[jax.ShapeDtypeStruct]:
    """The shape and dtype of one leaf; shrinks to the first of each.

    Args:
        dtypes: names of the dtypes to draw from.
        shapes: shapes to draw from.
    """
    make = lambda shape, dtype: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    return st.builds(make, st.sampled_from(shapes), st.sampled_from(dtypes))


def structures(
    *,
    dtypes: Sequence[str] = DTYPES,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    none: bool = True,
    zero_size: bool = False,
    max_leaves: int = 6,
) -> st.SearchStrategy[PyTree]:
    """A tree of shapes and dtypes: dicts, lists, tuples and dataclasses, empty ones too.

    Args:
        dtypes: names of the dtypes to draw from.
        shapes: shapes to draw from.
        none: whether there may be `None` in the place of an array.
        zero_size: whether there may be arrays without elements.
        max_leaves: the largest number of leaves.
    """
    shapes = (*shapes, (0,), (0, 3)) if zero_size else shapes
    leaf = leaves(dtypes=dtypes, shapes=shapes)
    leaf = leaf | st.none() if none else leaf

    def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
        return st.one_of(
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.lists(inner, max_size=2),
            st.tuples(inner, inner),
            st.builds(Layer, inner, inner),
        )

    return st.recursive(leaf, containers, max_leaves=max_leaves)


def _spread(count: int) -> tuple[float, ...]:
    """Numbers of both signs with 1/64 <= |x| <= 16 and eight binary digits, in no order."""
    bits = [(73 * i) % 128 for i in range(count)]
    exponents = [(7 * i) % 10 - 6 for i in range(count)]
    signs = [(-1) ** (i * i // 3) for i in range(count)]
    return tuple(
        sign * (1 + bit / 128) * 2.0**e for bit, e, sign in zip(bits, exponents, signs, strict=True)
    )


NICE = (1.0, 2.0, -1.0, 0.5, 3.0, -2.0, 0.25, -0.375, 5.0, 0.0, -8.0, 12.0, 0.0, -0.03125)
# The numbers of each kind of gradient, the simplest first: Hypothesis shrinks towards it.
NUMBERS: dict[str, tuple[float, ...]] = {
    "moderate": (*NICE, *_spread(256 - len(NICE))),
    "wild": (0.0, 1.0, -1.0, 1e-30, -1e-8, 1e-40, 1e4, -1e15, 1e15, -3e-45),
    "zero": (0.0,),
    "huge": (1e15, -1e15, 3e14),
    "subnormal": (1e-40, -1e-40, 3e-45),
    "nonfinite": (np.nan, np.inf, -np.inf, 1.0, -2.0),
}
# float16 ends at 65504: its huge numbers are those whose square it can't hold.
FLOAT16_MOST = 1e3


def values(structure: PyTree, numbers: Sequence[float] = NUMBERS["moderate"]) -> Any:
    """Arrays in the shapes and dtypes of `structure`, of up to 256 `numbers`.

    All the numbers of a tree are one draw, which is fast, and shrink to the first of `numbers`.

    Args:
        structure: a tree of arrays or of `jax.ShapeDtypeStruct`.
        numbers: the numbers to draw from, the simplest first.
    """
    count = size_of(structure)
    return st.binary(min_size=count, max_size=count).map(lambda raw: fill(structure, raw, numbers))


def size_of(structure: PyTree) -> int:
    """How many numbers a tree of arrays or shapes holds.

    Args:
        structure: a tree of arrays or of `jax.ShapeDtypeStruct`.
    """
    return sum(int(np.prod(spec.shape)) for spec in jax.tree.leaves(structure))


def fill(structure: PyTree, raw: bytes, numbers: Sequence[float]) -> PyTree:
    """Make a tree whose arrays hold numbers[raw[0]], numbers[raw[1]] and so on.

    Args:
        structure: a tree of arrays or of `jax.ShapeDtypeStruct`.
        raw: a byte for each number of the tree.
        numbers: the numbers that bytes stand for, taken modulo their length.
    """
    specs, treedef = jax.tree.flatten(structure)
    flat = np.asarray(numbers, np.float64)[np.frombuffer(raw, np.uint8).astype(int) % len(numbers)]
    ends = np.cumsum([int(np.prod(spec.shape)) for spec in specs], dtype=int)
    parts = [flat[end - size_of(spec) : end] for end, spec in zip(ends, specs, strict=True)]
    return treedef.unflatten([_array(part, spec) for part, spec in zip(parts, specs, strict=True)])


def _array(numbers: np.ndarray, spec: Any) -> jax.Array:
    if spec.dtype == jnp.float16:
        limit = np.clip(numbers, -FLOAT16_MOST, FLOAT16_MOST)
        numbers = np.where(np.isfinite(numbers), limit, numbers)
    return jnp.asarray(numbers.reshape(spec.shape).astype(spec.dtype))


def parameters(**options: Any) -> st.SearchStrategy[PyTree]:
    """Parameter trees: `structures(**options)` with moderate values.

    Args:
        options: those of `structures`.
    """
    return structures(**options).flatmap(values)


def gradients(params: PyTree, *, kind: str = "moderate") -> st.SearchStrategy[PyTree]:
    """Gradients that match `params`, of one kind of numbers.

    Args:
        params: a tree of arrays or of `jax.ShapeDtypeStruct`.
        kind: "moderate", "zero", "huge", "subnormal", "wild" or "nonfinite".

    Raises:
        ValueError: for another kind.
    """
    if kind not in NUMBERS:
        raise ValueError(
            f"gradients: `kind` must be one of {', '.join(NUMBERS)}; got {kind!r}. Choose one."
        )
    return values(params, NUMBERS[kind])


def hyperparameters(domain: Interval) -> st.SearchStrategy[float]:
    """Float32 numbers in an interval such as `gradtx.UNIT`, its ends included where it has them.

    Args:
        domain: the interval, cut to [-1000, 1000].
    """
    low, high = max(domain.low, -1e3), min(domain.high, 1e3)
    return st.floats(
        low,
        high,
        width=32,
        exclude_min=domain.open_low and low == domain.low,
        exclude_max=not domain.closed_high and high == domain.high,
        allow_subnormal=False,
    )


def schedules(low: float = 0.015625, high: float = 1.0) -> st.SearchStrategy[gradtx.Schedule]:
    """Schedules with values in [low, high], of the kinds that `gradtx.schedules` makes.

    Args:
        low: the least value.
        high: the largest value.
    """
    value, steps = st.floats(low, high, width=32), st.integers(1, 20)
    return st.one_of(
        st.builds(gradtx.schedules.constant, value),
        st.builds(gradtx.schedules.linear, value, value, steps),
        st.builds(gradtx.schedules.cosine, value, value, steps),
    )


def transformations() -> st.SearchStrategy[gradtx.GradientTransformationExtraArgs]:
    """One link for a chain, with drawn hyperparameters; shrinks to the identity."""
    unit, small = (
        hyperparameters(Interval(0, 0.984375, closed_high=True)),
        st.floats(0, 1, width=32),
    )
    return st.one_of(
        st.builds(gradtx.identity),
        st.builds(gradtx.scale_by_learning_rate, small | schedules()),
        st.builds(gradtx.scale_by_momentum, unit, nesterov=st.booleans()),
        st.builds(gradtx.scale_by_rms, unit, eps=st.just(1e-3)),
        st.builds(gradtx.scale_by_adam, b1=unit, b2=unit, eps=st.just(1e-3)),
        st.builds(gradtx.add_decayed_weights, small),
    )


def chains(*, max_size: int = 3) -> st.SearchStrategy[gradtx.GradientTransformationExtraArgs]:
    """Chains of up to `max_size` links, the empty one too.

    Args:
        max_size: the largest number of links.
    """
    links = st.lists(transformations(), max_size=max_size)
    return links.map(lambda parts: gradtx.chain(*parts))


def event_scripts(
    *, steps: int = 3, max_size: int = 3
) -> st.SearchStrategy[list[tuple[str, int, Request]]]:
    """Requests that a hook makes: lists of (event, occurrence, request); shrinks to none.

    Args:
        steps: number of occurrences of each event to choose from.
        max_size: the largest number of requests.
    """
    request = st.tuples(
        st.sampled_from(ASKING), st.integers(0, steps - 1), st.sampled_from(list(Request)[1:])
    )
    return st.lists(request, max_size=max_size)


def hook_lists(*, max_size: int = 4) -> st.SearchStrategy[list[Hook]]:
    """Lists of hooks that count the batches they see, with constraints that can be satisfied.

    A hook's state is an int32. Constraints only ever point from a later letter to an earlier one,
    so there is always an order; the list itself is in any order.

    Args:
        max_size: the largest number of hooks, at most 8.
    """
    names = "abcdefgh"[:max_size]

    def build(rows: list[set[int]]) -> list[Hook]:
        hooks = []
        for i, after in enumerate(rows):
            earlier = tuple(names[j] for j in sorted(after) if j < i)
            count = {"after_batch": lambda state, context: (state + 1, context)}
            start = lambda state: jnp.zeros((), jnp.int32)
            hooks.append(Hook(names[i], count, start, run_after=earlier))
        return hooks

    row = st.sets(st.integers(0, max_size - 1), max_size=2)
    return st.lists(row, max_size=max_size).map(build).flatmap(st.permutations)
