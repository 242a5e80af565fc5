"""One state on many devices: which device holds what of it, and of each batch.

    mesh = make_mesh("data=4,fsdp=2")
    state = shard_state(loop.init(params), mesh)
    state, history = fit(loop, state, place_batches(batches, mesh), epochs=3)

A mesh has two axes. A batch is split over both; the state is split over `fsdp` alone, so with
`fsdp=1` every device has a whole copy (data parallel), and with `fsdp=n` a device holds a part of
the parameters and of the optimizer's moments (fully sharded). The program stays the one for one
device: XLA puts in the communication, so the loss, the gradient and its norm, and the statistics of
batch normalization are those of the whole batch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gradtx.core.examples import count_examples, has_rows
from gradtx.core.foreign import as_arrays, close
from gradtx.core.sizes import belongings
from gradtx.core.tree import PyTree, Tree
from gradtx.kinds import checked

AXES = ("data", "fsdp")
# Leaves of fewer elements are whole on every device: a message costs more than what it saves.
SMALL = 1024


@checked
def parse_mesh(text: str, where: str = "parse_mesh: text") -> dict[str, int]:
    """The sizes of the axes in "NAME=SIZE,NAME=SIZE"; an axis that is not named has 1.

    >>> parse_mesh("data=4,fsdp=2")
    {'data': 4, 'fsdp': 2}

    Args:
        text: sizes of the axes "data" and "fsdp", each once at most.
        where: how the message of an error begins.

    Raises:
        ValueError: beginning with `where`, if the text is not of this form, or for another axis.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = part.partition("=")
        if not size.isdecimal() or int(size) < 1 or name in sizes:
            raise ValueError(
                f"{where} must be NAME=SIZE, for example data=4,fsdp=2, each axis once with a"
                f" positive size; got {text!r}. Write it so."
            )
        if name not in AXES:
            raise ValueError(f"{where} has the axes {' and '.join(AXES)}; got {name!r}. Use those.")
        sizes[name] = int(size)
    return {name: sizes.get(name, 1) for name in AXES}


@checked
def make_mesh(axes: str | Mapping[str, int], where: str = "make_mesh: axes") -> Mesh:
    """A mesh of all devices of all processes, `fsdp` innermost, so that it stays within a host.

    Args:
        axes: the sizes of the axes "data" and "fsdp", as a text or by name; 1 where one is absent.
        where: how the message of an error begins.

    Raises:
        ValueError: as `parse_mesh`, or unless the sizes multiply to the number of devices.
    """
    text = axes if isinstance(axes, str) else ",".join(f"{k}={v}" for k, v in axes.items())
    sizes = parse_mesh(text, where)
    devices = jax.device_count()
    if math.prod(sizes.values()) != devices:
        hint = f"Use data={devices}"
        if jax.default_backend() == "cpu":
            hint += ", or set XLA_FLAGS=--xla_force_host_platform_device_count=N for N CPU devices"
        raise ValueError(
            f"{where} must multiply to the number of devices, {devices}; got {text!r}. {hint}."
        )
    # Auto: XLA decides inside the program. Explicit axes are refused by convolutions.
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def leaf_spec(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Which dimension of a leaf is split over `fsdp`.

    The largest that the axis divides, the last among equals (of a kernel, its outputs). A leaf of
    fewer than `SMALL` elements, or without such a dimension, is whole on every device.

    Args:
        shape: of the leaf.
        mesh: with the axes of `make_mesh`.
    """
    parts = mesh.shape["fsdp"]
    dims = [i for i, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or math.prod(shape) < SMALL or not dims:
        return PartitionSpec()
    split = max(dims, key=lambda i: (shape[i], i))
    return PartitionSpec(*(["fsdp" if i == split else None for i in range(split + 1)]))


def state_shardings(state: Any, mesh: Mesh, specs: PyTree = None) -> Any:
    """The sharding of each leaf of a training state: a tree like it, of `NamedSharding`.

    What belongs to a parameter goes where it is: a leaf anywhere in the state whose path ends with
    a parameter's path and which has its shape, such as a moment or an averaged parameter. All else
    follows `leaf_spec`; scalars are whole everywhere.

    Args:
        state: a `TrainState`, or its shapes alone (`jax.eval_shape`).
        mesh: with the axes of `make_mesh`.
        specs: a tree like `state.params` of `PartitionSpec`; by default `leaf_spec` of each.

    Raises:
        ValueError: if `specs` has more or fewer entries than there are parameters.
    """
    is_spec = lambda x: isinstance(x, PartitionSpec)
    params = jax.tree.leaves(state.params)
    if specs is None:
        specs = jax.tree.map(lambda p: leaf_spec(p.shape, mesh), state.params)
    given = jax.tree.leaves(specs, is_leaf=is_spec)
    if len(given) != len(params):
        raise ValueError(
            f"state_shardings: `specs` must have a PartitionSpec for each of the {len(params)}"
            f" parameters; got {len(given)}. Make it with jax.tree.map over state.params."
        )
    leaves, structure = jax.tree.flatten(state)
    owners = belongings(state, state.params)
    parts = [
        leaf_spec(x.shape, mesh) if i is None else given[i]
        for x, i in zip(leaves, owners, strict=True)
    ]
    return structure.unflatten([NamedSharding(mesh, part) for part in parts])


def shard_state(state: Tree, mesh: Mesh, specs: PyTree = None) -> Tree:
    """`state`, each leaf where `state_shardings` puts it.

    In a job of several processes all call it, with the same values.

    Args:
        state: a `TrainState`.
        mesh: with the axes of `make_mesh`.
        specs: a tree like `state.params` of `PartitionSpec`, as for `state_shardings`.

    Raises:
        ValueError: as `state_shardings`.
    """
    return place(state, state_shardings(state, mesh, specs))


def place(tree: PyTree, shardings: PyTree) -> PyTree:
    """`tree` with the given shardings; every process holds all of it, or its part already.

    Args:
        tree: arrays.
        shardings: a tree like it, of shardings.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    # `device_put` would compare the processes' values leaf by leaf, and takes no keys.
    leaves, structure = jax.tree.flatten(tree)
    placed = jax.jit(lambda x: x, out_shardings=jax.tree.leaves(shardings))(leaves)
    return jax.tree.unflatten(structure, placed)


def shardings_of(tree: PyTree) -> PyTree | None:
    """The sharding of each leaf, if one of them is on a mesh; else None.

    A leaf that is not on that mesh, as a scalar that was just made, counts as whole on all of it.

    Args:
        tree: arrays.
    """
    meshes = [x.sharding.mesh for x in jax.tree.leaves(tree) if _on_mesh(x)]
    if not meshes:
        return None
    whole = NamedSharding(meshes[0], PartitionSpec())
    return jax.tree.map(lambda x: x.sharding if _on_mesh(x) else whole, tree)


def _on_mesh(x: Any) -> bool:
    return isinstance(x, jax.Array) and isinstance(x.sharding, NamedSharding)


def place_batches(batches: Any, mesh: Mesh, *, examples: str | None = None) -> Any:
    """`batches` as `fit` takes them, each split over all devices of `mesh`.

    Split is every array with a row for each example. One of another length, such as a graph's
    edges, and a number is whole on every device.

    Args:
        batches: an iterable or a function that returns one, and so is the result. Its arrays are
            this process's rows of each batch, in NumPy: with n processes the i-th of n equal parts
            for process i, as `own_rows` takes them; what is whole is the same everywhere.
        mesh: with the axes of `make_mesh`.
        examples: the entry that says how many examples a batch has, as `gradtx.loop.Loop` is told
            it: see `gradtx.core.examples.count_examples`.

    Raises:
        ValueError: on iteration, if the rows can't be split evenly over this process's devices, or
            a batch does not say how many it has.
    """
    if callable(batches):

        @wraps(batches)  # so that it is called with what `batches` takes
        def placed(*position: Any) -> Any:
            return _Placed(batches(*position), mesh, examples)  # pyright: ignore[reportArgumentType]

        return placed
    return _Placed(batches, mesh, examples)


class _Placed:
    """An iterable that puts each batch on the devices when it is its turn."""

    def __init__(self, batches: Iterable[Any], mesh: Mesh, examples: str | None) -> None:
        self.batches, self.mesh, self.examples = batches, mesh, examples

    def __iter__(self) -> Iterator[Any]:
        placed = partial(place_batch, mesh=self.mesh, examples=self.examples)
        return (placed(as_arrays(batch)) for batch in self.batches)

    def close(self) -> None:
        """End what reads ahead."""
        close(self.batches)


def own_rows(batch: PyTree, *, examples: str | None = None) -> PyTree:
    """This process's part of a batch that every process has whole, as `place_batches` wants it.

        rows  b i // n ... b (i + 1) // n        of b examples, for process i of n

    What has another length than the examples stays whole.

    Args:
        batch: a tree of arrays and numbers.
        examples: the entry that says how many examples there are, as for `place_batches`.

    Raises:
        ValueError: if the batch does not say how many examples it has.
    """
    index, processes, count = jax.process_index(), jax.process_count(), _count(batch, examples)
    part = slice(count * index // processes, count * (index + 1) // processes)
    return jax.tree.map(lambda x: x[part] if has_rows(x, count) else x, batch)


def _count(batch: PyTree, examples: str | None) -> int:
    """The number of rows; what is on a mesh already is not looked at."""
    rest = jax.tree.map(lambda x: None if _on_mesh(x) else x, batch)
    count = count_examples(rest, examples)
    if count is None and any(np.ndim(x) for x in jax.tree.leaves(rest)):
        raise ValueError(
            "place_batches: a batch must say how many examples it has; got arrays of different"
            ' lengths, and neither "weight" nor "label". Name an entry that has one value for each'
            " example by `examples`."
        )
    return count or 0


def place_batch(batch: PyTree, mesh: Mesh, *, examples: str | None = None) -> PyTree:
    """One batch of `place_batches`.

    Args:
        batch: a tree of arrays, this process's rows, and of scalars; what is on a mesh already,
            such as the data of `gradtx.loop.Rows`, stays as it is.
        mesh: with the axes of `make_mesh`.
        examples: the entry that says how many examples there are, as for `place_batches`.

    Raises:
        ValueError: as `place_batches`.
    """
    split = NamedSharding(mesh, PartitionSpec(AXES))
    whole = NamedSharding(mesh, PartitionSpec())
    local, count = mesh.local_mesh.size, _count(batch, examples)

    def put(x: Any) -> jax.Array:
        if _on_mesh(x):
            return x
        x = np.asarray(x)
        if not has_rows(x, count):
            return jax.make_array_from_process_local_data(whole, x)
        if count % local:
            raise ValueError(
                f"place_batches: the rows of a batch must be a multiple of this process's devices,"
                f" {local}; got shape {x.shape}. Choose a batch size that all devices divide."
            )
        return jax.make_array_from_process_local_data(split, x)

    return jax.tree.map(put, batch)
