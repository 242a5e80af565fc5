"""Meshes with axes that XLA decides over, as all programs here want them.

JAX makes a mesh with Explicit axes unless it is told otherwise. There every operation must know how
its result is split, which a gradient over a split batch, say, does not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding

from gradtx.core.tree import PyTree


def automatic(mesh: Mesh) -> Mesh:
    """The mesh with axes of the type Auto.

    Args:
        mesh: with axes of any type.
    """
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)


def on_automatic(tree: PyTree) -> PyTree:
    """`tree` whose arrays on a mesh are on one with axes of the type Auto; nothing moves.

    Args:
        tree: any pytree. Traced arrays stay as they are.
    """
    if not any(map(_is_explicit, jax.tree.leaves(tree))):
        return tree
    return jax.tree.map(lambda x: _moved(x) if _is_explicit(x) else x, tree)


def _is_explicit(x: Any) -> bool:
    if not isinstance(x, jax.Array) or isinstance(x, Tracer):
        return False
    sharding = x.sharding
    return isinstance(sharding, NamedSharding) and AxisType.Explicit in sharding.mesh.axis_types


def _moved(x: Any) -> jax.Array:
    return jax.device_put(x, NamedSharding(automatic(x.sharding.mesh), x.sharding.spec))


def is_of_axes(error: BaseException) -> bool:
    """Whether JAX can't tell how a result is split over Explicit axes.

    Args:
        error: what was raised.
    """
    return type(error).__name__ == "ShardingTypeError"  # which JAX does not export


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Say what to do where JAX can't tell how the result of an operation is split.

    Args:
        where: the function that was called.

    Raises:
        ValueError: for traced arrays on a mesh with Explicit axes.
    """
    try:
        yield
    except Exception as error:
        if not is_of_axes(error):
            raise
        raise ValueError(
            f"{where}: arrays on a mesh must have axes of the type Auto; got Explicit ones, as"
            " jax.make_mesh gives them. Make the mesh by gradtx.parallel.make_mesh, or by"
            " jax.make_mesh(..., axis_types=(jax.sharding.AxisType.Auto,) * n)."
        ) from error
