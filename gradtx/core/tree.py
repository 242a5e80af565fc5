"""The few verbs on pytrees that the rest of gradtx is written in.

`None` is a leaf here: in a tree of gradients it means "no gradient for this parameter".
"""

from functools import cache, reduce
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from gradtx.core.root import root

PyTree = Any
Tree = TypeVar("Tree")  # of what is returned like an argument

WIDE = {jnp.dtype(jnp.float32), jnp.dtype(jnp.float64)}
SHORT = 1024  # elements, of a leaf whose norm is not worth a loop of its own


def is_none(leaf: Any) -> bool:
    """Whether `leaf` is `None`; for `jax.tree.*(..., is_leaf=is_none)`."""
    return leaf is None


def is_named_tuple(node: Any) -> bool:
    """Whether `node` is a NamedTuple, as Optax's states are."""
    return isinstance(node, tuple) and hasattr(node, "_fields")


def is_empty(tree: PyTree) -> bool:
    """Whether `tree` holds no array: `None`, `EmptyState()`, 0, or whatever stands for nothing."""
    return not any(hasattr(x, "dtype") for x in jax.tree.leaves(tree))


def dtype_of(x: Any) -> jnp.dtype:
    """The dtype of an array, a number or a `jax.ShapeDtypeStruct`."""
    dtype = getattr(x, "dtype", None)
    return jnp.result_type(x) if dtype is None else dtype


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array, a number or a `jax.ShapeDtypeStruct`."""
    shape = getattr(x, "shape", None)
    return jnp.shape(x) if shape is None else tuple(shape)


def as_dtype(x: Any, dtype: Any) -> jax.Array:
    """`x` as an array of `dtype`; `x` itself if that is what it is."""
    return x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x, dtype)


def _dtypes(tree: PyTree) -> list[Any]:
    """The dtype of each leaf that is a JAX array, None for others: to see what needs no work."""
    return [x.dtype if isinstance(x, jax.Array) else None for x in jax.tree.leaves(tree)]


def is_wide(x: Any) -> bool:
    """Whether `x` is a JAX array of float32 or float64."""
    return isinstance(x, jax.Array) and x.dtype in WIDE


def all_numbers(tree: PyTree) -> bool:
    """Whether all leaves of `tree` are arrays of numbers."""
    return all([hasattr(x, "dtype") and _is_number(x.dtype) for x in jax.tree.leaves(tree)])


def as_scalars(tree: Any) -> Any:
    """The numbers in `tree` as arrays of JAX's default float dtype; float arrays as they are."""
    return jax.tree.map(lambda x: x if is_wide(x) else jnp.asarray(x, float), tree)


def compute_dtype(*arrays: Any) -> jnp.dtype:
    """The dtype to calculate in: promote(dtypes of `arrays`, float32); `None`s are passed over."""
    return _promote(*[dtype_of(a) for a in arrays if a is not None])


@cache
def _promote(*dtypes: Any) -> jnp.dtype:
    with jax.numpy_dtype_promotion("standard"):
        return reduce(jnp.promote_types, dtypes, jnp.dtype(jnp.float32))


@cache
def real_of(dtype: Any) -> jnp.dtype:
    """The dtype of the real part of numbers of a floating or complex dtype."""
    return jnp.finfo(dtype).dtype


@cache
def is_complex(dtype: Any) -> bool:
    """Whether numbers of `dtype` are complex."""
    return jnp.issubdtype(dtype, jnp.complexfloating)


@cache
def kind_in(dtype: Any, real: Any) -> jnp.dtype:
    """The dtype in which numbers of `dtype` are calculated with, where real ones are in `real`."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(real, jnp.complex64) if is_complex(dtype) else real


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """Cast each leaf of `tree` to the dtype of its counterpart in `like`.

    What is like integers stays as it is: an update of those is no integer.
    """
    if None not in (dtypes := _dtypes(tree)) and dtypes == _dtypes(like):
        return tree

    def cast(x: Any, y: Any) -> Any:
        return as_dtype(x, dtype_of(y)) if x is not None and is_inexact(dtype_of(y)) else x

    return jax.tree.map(cast, tree, like, is_leaf=is_none)


def cast_state(where: str, new: Any, old: Any) -> Any:
    """`new` in the dtypes of `old`: some of Optax's transforms change theirs on the first update.

    Raises:
        ValueError: if the structure has changed, which no compiled loop could take.
    """
    if jax.tree.structure(new) != jax.tree.structure(old):
        raise ValueError(
            f"{where}.update: the inner transform must keep the structure of its state; got"
            f" {jax.tree.structure(new)} from {jax.tree.structure(old)}. Fix or replace it."
        )
    keep = lambda a, b: a if dtype_of(a) == dtype_of(b) else jnp.asarray(a, dtype_of(b))
    return jax.tree.map(keep, new, old)


def upcast(tree: PyTree) -> PyTree:
    """Cast floating leaves below float32 to float32; others stay as they are."""
    if set(_dtypes(tree)) <= WIDE:
        return tree
    return jax.tree.map(
        lambda x: as_dtype(x, compute_dtype(x)) if is_inexact(dtype_of(x)) else x, tree
    )


def select(condition: jax.Array, on_true: PyTree, on_false: PyTree) -> PyTree:
    """`on_true` if the scalar `condition` holds, else `on_false`, leaf by leaf.

    Nothing is multiplied, so a NaN on the side that is not chosen does no harm.
    """
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), on_true, on_false)


def bias_correction(decay: jax.Array, step: jax.Array) -> jax.Array:
    """The weight that `step` terms of an exponential average have received so far.

        c = 1 - decay^step

    Computed as `-expm1(step log(decay))`: the plain form loses most of its digits for a decay
    near 1 (at decay = 0.999, step = 2 its error is 1.5e-5 in float32).

    >>> round(float(bias_correction(jnp.float32(0.999), jnp.float32(2))), 9)
    0.001998974
    """
    return -jnp.expm1(step * jnp.log1p(decay - 1))


def norm(x: jax.Array) -> jax.Array:
    """Euclidean norm of one array.

    sqrt(sum_i |x_i|^2)
    """
    return root(jnp.vdot(x, x).real)


def rms(x: jax.Array) -> jax.Array:
    """Root mean square of one array; 0 of an empty one.

    sqrt(mean_i |x_i|^2)
    """
    return root(jnp.vdot(x, x).real / max(x.size, 1))


def abs_sq(x: jax.Array) -> jax.Array:
    """The squares of the absolute values, real also where `x` is complex.

    |x|^2
    """
    return x * x if jnp.isrealobj(x) else (x.conj() * x).real


def global_norm(tree: PyTree) -> jax.Array:
    """Euclidean norm of all leaves together.

        sqrt(sum_leaves sum_i x_i^2)

    A scalar of at least float32, whatever the leaves' dtype; 0 for an empty tree.
    """
    leaves = [as_dtype(x, compute_dtype(x)) for x in jax.tree.leaves(tree)]
    if not leaves:
        return jnp.zeros((), jnp.float32)
    vectors = [x for x in leaves if x.size > SHORT]
    # Put together, short leaves are one loop to compile and to start, not one each or more.
    short = [x.ravel() for x in leaves if x.size <= SHORT]
    for dtype in dict.fromkeys(x.dtype for x in short):
        vectors.append(jnp.concatenate([x for x in short if x.dtype == dtype]))
    squares = [jnp.vdot(x, x).real for x in vectors]
    dtype = compute_dtype(*squares)
    return root(sum((s.astype(dtype) for s in squares), jnp.zeros((), dtype)))


def at_most(size: jax.Array, most: jax.Array | float) -> jax.Array:
    """The factor that makes a `size` one of `most` or less.

    min(1, most / size)        1 for a size of 0, NaN for a NaN
    """
    small = size <= most
    # The division comes last: XLA copies what comes after one into every leaf's loop. And nothing
    # is divided by a size of 0, not even where it is not selected: the derivative would be NaN.
    return jnp.where(small, 1, most) / jnp.where(small, 1, size)


def shrink(tree: PyTree, size: jax.Array, most: jax.Array | float) -> PyTree:
    """`tree`, whose norm is `size`, with a norm of `most` or less.

        x' = x min(1, most / size)        NaN where `size` is not finite

    The product is made in at least float32 and rounded to the dtype of `x`.
    """
    factor = at_most(jnp.where(jnp.isfinite(size), size, jnp.nan), most)

    def times(x: jax.Array) -> jax.Array:
        dtype = compute_dtype(x)
        return cast_like(as_dtype(x, dtype) * factor.astype(dtype), x)

    return jax.tree.map(times, tree)


def all_finite(tree: PyTree) -> jax.Array:
    """bool[]: whether no leaf of `tree` holds a NaN or an infinity.

        sum_leaves finite(leaf)^2 = number of leaves        finite(leaf) = 1 or 0

    The flags are counted by a dot product, which XLA does not fuse into what uses the result. As a
    plain reduction it is copied into the select of every parameter: with 60 leaves the step takes
    15 s to compile on a CPU, like this 1.5 s.
    """
    finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    if not finite:
        return jnp.array(True)
    flags = jnp.stack(finite).astype(jnp.float32)
    return jnp.vdot(flags, flags) == len(finite)


def path_name(path: tuple) -> str:
    """A key path as text: `('stem', 0, 'kernel')` becomes `stem/0/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/") or "(the root)"


def check_numbers(where: str, updates: PyTree) -> None:
    """Require that all leaves of `updates` are numbers: real, complex or integers.

    Raises:
        TypeError: naming the first leaf that is not.
    """
    dtypes = map(dtype_of, jax.tree.leaves(updates))
    if set(_dtypes(updates)) <= WIDE or all(map(_is_number, dtypes)):
        return
    for path, x in jax.tree_util.tree_leaves_with_path(updates):
        dtype = dtype_of(x)
        if not _is_number(dtype):
            raise TypeError(
                f"{where}: every leaf of `updates` must be an array of numbers; got {dtype.name} at"
                f" {path_name(path)}. Pass None for a parameter that isn't trained, or make it"
                " floating."
            )


@cache
def is_inexact(dtype: Any) -> bool:
    """Whether numbers of `dtype` are floating or complex."""
    return jnp.issubdtype(dtype, jnp.inexact)


@cache
def _is_number(dtype: Any) -> bool:
    # Not what `jax.grad(..., allow_int=True)` makes of integers: float0 holds nothing.
    return jnp.issubdtype(dtype, jnp.number) and dtype != jax.dtypes.float0


def check_like(where: str, name: str, tree: PyTree, like_name: str, like: PyTree, do: str) -> None:
    """Require that `tree` has the structure and the shapes of `like`.

    A `None` leaf of `tree` matches any leaf. Runs at trace time only, so it is free in compiled
    code.

    Raises:
        ValueError: naming the first path at which the two differ.
    """
    if same_form(tree, like):
        return
    ours, our_def = jax.tree.flatten(tree, is_leaf=is_none)
    theirs, their_def = jax.tree.flatten(like, is_leaf=is_none)
    if our_def == their_def and all(
        a is None or (b is not None and shape_of(a) == shape_of(b))
        for a, b in zip(ours, theirs, strict=True)
    ):
        return
    difference = _first_difference(tree, like, name, like_name)
    raise ValueError(
        f"{where}: `{name}` must match `{like_name}` in structure and shapes; got {difference}."
        f" {do}"
    )


def check_slot(where: str, updates: PyTree, slot: str, tree: PyTree) -> None:
    """Require that `updates` is like the tree that a state has in `slot`.

    Args:
        where: what the message begins with.
        updates: the tree given.
        slot: name of the slot.
        tree: what is in it.

    Raises:
        ValueError: if it is not, naming the first leaf that differs.
    """
    do = "This state was made for other parameters: call `init` with these."
    check_like(where, "updates", updates, f"state.slots[{slot!r}]", tree, do)


def same_form(tree: PyTree, like: PyTree) -> bool:
    """Whether two trees have one structure, with `None` in the same places, and one shape each."""
    if jax.tree.structure(tree) != jax.tree.structure(like):
        return False
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(like), strict=True)
    return all([getattr(a, "shape", None) == getattr(b, "shape", ()) for a, b in pairs])


def _first_difference(tree: PyTree, like: PyTree, name: str, like_name: str) -> str:
    flat = lambda t: {
        path_name(path): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(t, is_leaf=is_none)[0]
    }
    ours, theirs = flat(tree), flat(like)
    for path in [*theirs, *ours]:
        if path not in ours:
            return f"no leaf at {path} in `{name}`"
        if path not in theirs:
            return f"a leaf at {path} that `{like_name}` lacks"
        a, b = ours[path], theirs[path]
        if a is not None and b is None:
            return f"an array at {path} where `{like_name}` has None"
        if a is not None and shape_of(a) != shape_of(b):
            return f"shape {shape_of(a)} at {path}, where `{like_name}` has {shape_of(b)}"
    return (
        f"the same leaves in other containers ({jax.tree.structure(tree)} against"
        f" {jax.tree.structure(like)})"
    )
