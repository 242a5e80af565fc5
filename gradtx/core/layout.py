"""Which axes of a leaf make a matrix, where a transformation treats leaves as matrices."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
from optax.contrib import MuonDimensionNumbers

from gradtx.core.tree import PyTree, is_none, shape_of
from gradtx.kinds import Kind, takes


def _ends(x: Any) -> bool:
    return x is None or isinstance(x, MuonDimensionNumbers)


def _are_numbers(x: Any) -> bool:
    return takes(x, 1) or all(map(_ends, jax.tree.leaves(x, is_leaf=_ends)))


DimensionNumbers = Annotated[
    Any,  # MuonDimensionNumbers | PyTree of them and None | Callable[[PyTree], such a tree]
    Kind("MuonDimensionNumbers, a tree of them, or a function that makes one", _are_numbers),
]


@dataclass(frozen=True)
class Layout:
    """Which axes of a leaf are what of a matrix, or of several.

    Args:
        batch: the axes that count matrices.
        reduction: the axes of the inputs.
        output: the axes of the outputs.
    """

    batch: tuple[int, ...]
    reduction: tuple[int, ...]
    output: tuple[int, ...]

    def fans(self, x: jax.Array) -> tuple[int, int]:
        """The number of inputs, and of outputs."""
        return _size(x, self.reduction), _size(x, self.output)

    def matrices(self, x: jax.Array) -> jax.Array:
        """`x` as [batch, reduction, output]."""
        ordered = x.transpose(self.batch + self.reduction + self.output)
        return ordered.reshape(_size(x, self.batch), *self.fans(x))

    def back(self, matrices: jax.Array, like: jax.Array) -> jax.Array:
        """The inverse of `matrices`, for a leaf of the shape of `like`."""
        order = self.batch + self.reduction + self.output
        ordered = matrices.reshape([like.shape[axis] for axis in order])
        return ordered.transpose(sorted(range(like.ndim), key=order.__getitem__))


def _size(x: jax.Array, axes: Sequence[int]) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def layouts(where: str, given: Any, tree: PyTree) -> PyTree:
    """The `Layout` of each leaf of `tree`.

    Args:
        where: what messages begin with.
        given: what `over_numbers` takes; where it says nothing of a leaf, that is the matrix of all
            axes but the last by the last.
        tree: like the parameters.

    Raises:
        ValueError: for a leaf of less than two dimensions, or one whose numbers are not of its
            axes.
    """
    return over_numbers(where, lambda said, x: _layout(where, said, shape_of(x)), given, tree)


def over_numbers(where: str, f: Callable[[Any, Any], Any], given: Any, tree: PyTree) -> PyTree:
    """f(dimension numbers or `None`, leaf) for each leaf of `tree`; `None` where that is `None`.

    Args:
        where: what messages begin with.
        f: what to make of what is said of a leaf.
        given: one `MuonDimensionNumbers` for all leaves, a tree of them and of `None` like `tree`
            or a prefix of it, or a function from `tree` to one.
        tree: like the parameters.

    Raises:
        TypeError: if a leaf of `given` is neither `MuonDimensionNumbers` nor `None`.
        ValueError: if it is no prefix of `tree`.
    """
    numbers = given if _ends(given) or not callable(given) else given(tree)
    for leaf in jax.tree.leaves(numbers, is_leaf=_ends):
        if not _ends(leaf):
            raise TypeError(
                f"{where}: every leaf of the dimension numbers must be MuonDimensionNumbers or"
                f" None; got {leaf!r:.60}. Write MuonDimensionNumbers(reduction_axis=0,"
                " output_axis=1)."
            )
    inside = lambda said: lambda x: None if x is None else f(said, x)
    try:
        jax.tree.map(lambda said, part: None, numbers, tree, is_leaf=_ends)
    except ValueError as error:
        raise ValueError(
            f"{where}: the dimension numbers must be a tree like the parameters, or a prefix of it;"
            f" got {jax.tree.structure(numbers, is_leaf=_ends)} for {jax.tree.structure(tree)}."
            " Give each parameter its own, or None."
        ) from error
    over = lambda said, part: jax.tree.map(inside(said), part, is_leaf=is_none)
    return jax.tree.map(over, numbers, tree, is_leaf=_ends)


def _layout(where: str, said: Any, shape: tuple[int, ...]) -> Layout:
    if len(shape) < 2:
        raise ValueError(
            f"{where}: every leaf must have at least two dimensions; got shape {shape}. Use `muon`,"
            " which gives the other leaves to Adam, or `partition`."
        )
    if said is None:
        return Layout((), tuple(range(len(shape) - 1)), (len(shape) - 1,))
    reduction, output = (_axes(where, axes, shape) for axes in said)
    if len({*reduction, *output}) < len(reduction + output):
        raise ValueError(
            f"{where}: the axes of inputs and of outputs must differ; got {said} for a leaf of"
            f" shape {shape}. Name each axis once; those not named count matrices."
        )
    batch = tuple(axis for axis in range(len(shape)) if axis not in reduction + output)
    return Layout(batch, reduction, output)


def _axes(where: str, axes: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes as numbers from 0 on."""
    found = (axes,) if isinstance(axes, int) else tuple(axes)
    if not all(isinstance(a, int) and -len(shape) <= a < len(shape) for a in found):
        raise ValueError(
            f"{where}: dimension numbers must be axes of the leaf; got {axes} for a leaf of shape"
            f" {shape}. Count from 0, or from the end with negative numbers."
        )
    return tuple(a % len(shape) for a in found)
