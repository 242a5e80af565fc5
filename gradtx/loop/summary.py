"""A model and its training in numbers: layer by layer, and the whole step."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax

from gradtx.core.boxes import named_leaves
from gradtx.core.describe import aligned, sizes_table
from gradtx.core.sizes import REST, Size, size_of, state_sizes
from gradtx.core.tree import shape_of
from gradtx.drawing.notebook import fragment, grid
from gradtx.kinds import checked
from gradtx.loop.calls import call_apply
from gradtx.loop.loop import Loop
from gradtx.loop.prepared import prepared
from gradtx.loop.program import Program, form_of, step_program
from gradtx.loop.state import TrainState, context_of


@dataclass(frozen=True)
class Layer:
    """One layer: the parameters whose paths differ in the last name alone.

    Args:
        path: of the layer, with slashes; "" at the top.
        kind: the class of the Flax module; "" of other models.
        output: the shape of what the module returns for the batch, as text.
        params: name and shape of each parameter.
        size: of these.
    """

    path: str
    kind: str
    output: str
    params: tuple[tuple[str, tuple[int, ...]], ...]
    size: Size


@dataclass(frozen=True)
class Summary:
    """What `summary` found. Prints as tables, and a notebook shows it as such.

    Args:
        layers: in the order in which a Flax module calls them, else in that of the parameters.
        sizes: (of what, how large): the parts of the state, and the gradients.
        program: what a step takes; None if it was not compiled.
    """

    layers: tuple[Layer, ...]
    sizes: tuple[tuple[str, Size], ...]
    program: Program | None

    def _layers(self) -> list[tuple[str, ...]]:
        """The header and a line for each layer; columns that nothing is in are left out."""
        header = ("layer", "kind", "output", "parameters", "numbers", "bytes", "on a device")
        table: list[tuple[str, ...]] = [header]
        for layer in self.layers:
            named = [f"{name} {'x'.join(map(str, shape))}".strip() for name, shape in layer.params]
            what = (layer.path or "(top)", layer.kind, layer.output, ", ".join(named))
            table.append((*what, *(f"{x:,}" for x in layer.size)))
        split = any(layer.size.bytes != layer.size.device_bytes for layer in self.layers)
        has = lambda i: any(line[i] for line in table[1:]) and (i < 6 or split)
        kept = [i for i in range(7) if has(i)]
        return [tuple(line[i] for i in kept) for line in table]

    def _step(self) -> list[str]:
        """What a step takes, in words."""
        if self.program is None:
            return []
        flops, program = self.program.flops, self.program
        return [
            f"a step: {flops:,.0f} floating-point operations, of all devices together",
            f"memory of a step, of each device: {program.bytes:,} bytes ({program.arguments:,} of"
            f" the state and the batch, {program.temporaries:,} of what is kept in between,"
            f" {program.results - program.reused:,} of results)",
        ]

    def _repr_html_(self) -> str:
        tables = self._layers(), sizes_table(self.sizes)
        return fragment(*(grid(table[0], table[1:]) for table in tables), *self._step())

    def __str__(self) -> str:
        parts = [aligned(self._layers()), aligned(sizes_table(self.sizes)), self._step()]
        return "\n\n".join("\n".join(part) for part in parts if part)


@checked
def summary(loop: Loop, state: TrainState, batch: Any, *, compiles: bool = True) -> Summary:
    """Count what a training has and what its steps take; nothing is run.

        bytes of a step = arguments + temporaries + results - reused arguments

    Each layer with its parameters; of a Flax linen module the class and the output's shape too.
    Then the sizes of the parameters, the gradients, what each part of the optimizer remembers, the
    model's other state, the hooks'. Of a state on a mesh, that of one device beside the whole.
    Last the operations and the memory of a step, by XLA's `cost_analysis()` and
    `memory_analysis()` of the program that `fit` runs batch by batch. The operations of every layer
    alone are what `flax.linen.tabulate(module, key, x, compute_flops=True)` counts.

    Args:
        loop: the loop.
        state: one of it.
        batch: a batch, as `fit` gives it to a step.
        compiles: whether the step is compiled, for its operations and its memory.
    """
    form = form_of(batch)
    called = _called(loop, state, form)
    layers: dict[str, list[tuple[str, Any]]] = {}
    for path, x in named_leaves(state.params):
        if x is not None:
            before, _, name = path.rpartition("/")
            layers.setdefault(before, []).append((name, x))
    order = {path: i for i, path in enumerate(called)}
    rows = []
    for path in sorted(layers, key=lambda path: order.get(path, len(order))):
        kind, output = called.get(path, ("", ""))
        named = tuple((name, shape_of(x)) for name, x in layers[path])
        rows.append(Layer(path, kind, output, named, size_of([x for _, x in layers[path]])))
    program = step_program(loop, form_of(state), form) if compiles else None
    return Summary(tuple(rows), tuple(_sizes(state)), program)


def _sizes(state: TrainState) -> Iterator[tuple[str, Size]]:
    """The parts of a state, those that have something."""
    whole = size_of(state.params)
    yield from (("parameters", whole), ("gradients", whole))
    for name, size in state_sizes(state.opt_state, state.params):
        yield name if name == REST else f"optimizer: {name}", size
    hooks = [(f"hook {name}", own) for name, own in state.hooks.items()]
    for name, tree in (("model state", state.model_state), ("metrics", state.metrics), *hooks):
        if (size := size_of(tree)).numbers:
            yield name, size


def _called(loop: Loop, state: TrainState, batch: Any) -> dict[str, tuple[str, str]]:
    """(class, the output's shape) of each Flax module that the model calls, by path, in order."""
    found: dict[str, tuple[str, str]] = {}
    nn = sys.modules.get("flax.linen")  # there is no such module where it was not imported

    def keep(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module, path = context.module, "/".join(context.module.path)
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        found.setdefault(path, (type(module).__name__, ""))  # its place, before those inside it
        out = call(*args, **kwargs)
        shapes = ["x".join(map(str, shape_of(x))) for x in jax.tree.leaves(out)]
        found[path] = (type(module).__name__, ", ".join(shapes))
        return out

    def run(state: TrainState, batch: Any) -> Any:
        batch = prepared(loop, state, batch, training=True)
        return call_apply(loop, context_of(state, training=True, batch=batch))

    watching: AbstractContextManager[Any] = nullcontext()
    if nn is not None:
        watching = nn.intercept_methods(keep)
    with watching:
        jax.eval_shape(run, state, batch)
    return found
