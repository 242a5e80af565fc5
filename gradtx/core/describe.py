"""Say which parameter gets which transform, with which hyperparameters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from gradtx.core.boxes import named_leaves
from gradtx.core.hyperparams import PerGroup, source_of
from gradtx.core.sizes import Size, size_of, state_shapes, state_sizes
from gradtx.core.state import structure_of
from gradtx.core.transformation import as_transformation, check_arrays
from gradtx.core.tree import PyTree, dtype_of, is_none, shape_of
from gradtx.drawing.notebook import fragment, grid


@dataclass(frozen=True)
class Row:
    """One parameter, and the transforms that it goes through.

    Args:
        path: of the parameter, with slashes.
        shape: of the parameter.
        dtype: of the parameter.
        transforms: with their hyperparameters, in the order in which they act.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    transforms: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """What `describe` found. Prints as a table, and a notebook shows it as one.

    Args:
        rows: one for each parameter.
        sizes: of the parameters, the gradients, and of what each part of the optimizer remembers.
    """

    rows: tuple[Row, ...]
    sizes: tuple[tuple[str, Size], ...] = ()

    def recipes(self) -> dict[tuple[str, ...], str]:
        """A letter, or two, for each different list of transforms, in order of appearance."""
        found = dict.fromkeys(row.transforms for row in self.rows)
        return {transforms: _letters(i) for i, transforms in enumerate(found)}

    def _table(self) -> list[tuple[str, ...]]:
        """The header and a line for each parameter."""
        recipes = self.recipes()
        table = [("parameter", "shape", "dtype", "recipe")]
        for row in self.rows:
            shape = "x".join(map(str, row.shape)) or "scalar"
            table.append((row.path, shape, row.dtype, recipes[row.transforms]))
        return table

    def _repr_html_(self) -> str:
        header, *rows = self._table()
        said = [(x, " > ".join(t) or "identity") for t, x in self.recipes().items()]
        parts = [grid(header, rows), grid(("recipe", "transforms, in order"), said)]
        sizes = sizes_table(self.sizes)
        return fragment(*parts, *([grid(sizes[0], sizes[1:])] if self.sizes else []))

    def __str__(self) -> str:
        recipes, table = self.recipes(), self._table()
        lines = aligned(table)
        for transforms, letter in recipes.items():
            lines += ["", f"{letter}: {' > '.join(transforms) or 'identity'}"]
        if self.sizes:
            lines += ["", *aligned(sizes_table(self.sizes))]
        return "\n".join(lines)


def sizes_table(sizes: Sequence[tuple[str, Size]]) -> list[tuple[str, ...]]:
    """Sizes as text with a header; what a device holds has a column if it is not all.

    Args:
        sizes: (of what, how large).
    """
    split = any(size.bytes != size.device_bytes for _, size in sizes)
    table = [("size of", "numbers", "bytes", "on a device")]
    table += [(what, *(f"{x:,}" for x in size)) for what, size in sizes]
    return table if split else [line[:-1] for line in table]


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table of text, its columns one under the other.

    Args:
        table: of cells.
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]


def _letters(i: int) -> str:
    return (_letters(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


def describe(tx: Any, params: PyTree, state: PyTree = None) -> Description:
    """Which parameter gets which transforms, with which hyperparameters, and what it all takes.

    A transform from elsewhere, Optax's for example, is named by its factory, without
    hyperparameters. Sizes are those of the parameters, of gradients, which are as large, and of
    what each part of the optimizer remembers: moments, and a few hyperparameters and counters. Of
    what is split over a mesh, that of one device is told beside the whole.

    >>> import gradtx, jax.numpy as jnp
    >>> decay = gradtx.by_group(gradtx.label_by(no="bias", yes="*"), no=0.0, yes=0.01)
    >>> tx = gradtx.sgd(0.1, weight_decay=decay)
    >>> print(gradtx.describe(tx, {"bias": jnp.ones(2), "kernel": jnp.ones((2, 2))}))
    parameter  shape  dtype    recipe
    bias       2      float32  A
    kernel     2x2    float32  B
    <BLANKLINE>
    A: add_decayed_weights(weight_decay=0) > scale_by_learning_rate(learning_rate=0.1)
    <BLANKLINE>
    B: add_decayed_weights(weight_decay=0.01) > scale_by_learning_rate(learning_rate=0.1)
    <BLANKLINE>
    size of                    numbers  bytes
    parameters                 6        24
    gradients                  6        24
    hyperparameters, counters  4        16

    Args:
        tx: any gradient transformation.
        params: a tree of arrays or of `jax.ShapeDtypeStruct`s.
        state: its state, of which the sizes are; None: of that with which it begins, each moment
            where its parameter is.

    Raises:
        TypeError: if `tx` is no gradient transformation.
    """
    as_transformation("describe", "`tx`", tx)
    check_arrays("describe", "params", params)
    steps: dict[str, list[str]] = {}
    for path, name in _visits(tx, params):
        steps.setdefault(path, []).append(name)
    rows = [
        Row(name, shape_of(x), str(dtype_of(x)), tuple(steps.get(name, ())))
        for name, x in _present(params)
    ]
    return Description(tuple(rows), tuple(_sizes(tx, params, state)))


def _sizes(tx: Any, params: PyTree, state: PyTree) -> list[tuple[str, Size]]:
    whole = size_of(params)
    found = [("parameters", whole), ("gradients", whole)]
    if state is None:
        try:
            state = state_shapes(tx, params)
        except Exception:
            # It can't begin with these parameters, or only with numbers; `init` says it better.
            return found
    return found + state_sizes(state, params)


def _present(tree: PyTree) -> list[tuple[str, Any]]:
    return [(path, x) for path, x in named_leaves(tree) if x is not None]


def _visits(tx: Any, params: PyTree) -> Iterator[tuple[str, str]]:
    """(path, transform as text) for each leaf and each transform it passes, in order."""
    structure = structure_of(tx)
    if structure is None:
        yield from ((path, foreign_name(tx)) for path, _ in _present(params))
        return
    if structure.name != "chain" and not structure.select:
        yield from _labeled(structure, params)
    trees = structure.select(params) if structure.select else [params] * len(structure.parts)
    for part, tree in zip(structure.parts, trees, strict=True):
        yield from _visits(part, tree)
    if structure.after is not None:
        yield from _visits(structure.after, params)


def foreign_name(tx: Any) -> str:
    """The package and the factory of a transform that gradtx didn't make."""
    for f in (tx.update, tx.init):
        factory, _, local = getattr(f, "__qualname__", "").partition(".<locals>.")
        if local and factory != "with_extra_args_support":
            return f"{f.__module__.split('.')[0]}.{factory}"
    return type(tx).__name__


def _labeled(structure: Any, params: PyTree) -> Iterator[tuple[str, str]]:
    labels = {
        key: jax.tree.leaves(spec.labels(params), is_leaf=is_none)
        for key, spec in structure.hyperparams.items()
        if isinstance(spec, PerGroup)
    }
    for i, (path, leaf) in enumerate(named_leaves(params)):
        if leaf is None:
            continue
        given = ", ".join(
            f"{key}={_value(spec, labels[key][i] if key in labels else None)}"
            for key, spec in structure.hyperparams.items()
        )
        yield path, f"{structure.name}({given})"


def _value(spec: Any, label: Any) -> str:
    if isinstance(spec, PerGroup):
        return _value(spec.values[label], None)
    source = source_of(spec)
    if source == "number":
        return f"{float(spec):g}"
    return "a schedule" if source == "schedule" else "a JAX scalar"
