"""The program of one training step: what it computes and what memory it needs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.kinds import checked
from gradtx.loop.jitted import prepare
from gradtx.loop.loop import Loop
from gradtx.loop.measured import with_functions
from gradtx.loop.state import TrainState


class Program(NamedTuple):
    """The compiled step, of one device.

    Args:
        flops: operations of the model and the optimizer, before XLA has made anything of them, of
            all devices together.
        arguments: bytes of the state and the batch.
        temporaries: bytes of what is kept in between.
        results: bytes of the state after it, and the log.
        reused: bytes of arguments that results take over.
    """

    flops: float
    arguments: int
    temporaries: int
    results: int
    reused: int

    @property
    def bytes(self) -> int:
        """What the program needs: arguments + temporaries + results - reused."""
        return self.arguments + self.temporaries + self.results - self.reused


@checked
def lowered_step(loop: Loop, state: TrainState, batch: Any) -> Any:
    """The step that `fit` runs batch by batch, as `jax.stages.Lowered`.

    Its `cost_analysis()` costs nothing more. Where a fit of the loop has run it in this process,
    its `compile()` does not compile again.

    Args:
        loop: the loop.
        state: one of it, or its form: a tree of `jax.ShapeDtypeStruct`s.
        batch: a batch, or its form.
    """
    own = with_functions(loop.metrics, loop.train_metrics, state.metrics)
    run, state = prepare(loop, state.replace(metrics=own))
    return run.train_step.lower(state, batch)


def flops_in(stage: Any) -> float:
    """Operations of a program, as XLA counts them; 0 where it does not.

    Args:
        stage: a lowered or a compiled one.
    """
    return float((stage.cost_analysis() or {}).get("flops", 0.0))


@checked
def step_program(loop: Loop, state: TrainState, batch: Any) -> Program:
    """Compile a training step, and say what it takes; it is not run.

    Args:
        loop: the loop.
        state: one of it, or its form: a tree of `jax.ShapeDtypeStruct`s.
        batch: a batch, or its form.
    """
    return program_of(lowered_step(loop, state, batch))


def program_of(lowered: Any) -> Program:
    """What a lowered program takes; it is compiled for it.

    Args:
        lowered: as `jax.jit(f).lower(...)` returns it.
    """
    found: Any = lowered.compile().memory_analysis()
    return Program(
        flops_in(lowered),
        found.argument_size_in_bytes,
        found.temp_size_in_bytes,
        found.output_size_in_bytes,
        found.alias_size_in_bytes,
    )


def form_of(tree: Any) -> Any:
    """The form of arrays, with their places on a mesh: they need not be kept for it.

    Args:
        tree: of arrays.
    """

    def of(x: Any) -> Any:
        sharding = x.sharding if isinstance(x, jax.Array) and x.committed else None
        return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=sharding)

    return jax.tree.map(of, tree)
