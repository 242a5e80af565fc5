"""Histograms of every layer's gradients, parameters and updates."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.hooks.at_times import at_times
from gradtx.hooks.health_measures import EARLIER, names_of
from gradtx.kinds import Count, checked
from gradtx.loop import HISTOGRAM_EDGES, Hook, Request, StepContext, TrainState
from gradtx.loop.histogram import histograms

TREES = ("grads", "params", "updates")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["count", "taken", "counts"],
    meta_fields=["layers"],
)
@dataclass(frozen=True)
class HistogramState:
    """The last counts.

    Args:
        count: int32[]: optimizer's steps so far.
        taken: bool[]: whether the last batch was counted.
        counts: int32[3, layers, bins], of gradients, parameters and updates.
        layers: the paths of the parameters.
    """

    count: jax.Array
    taken: jax.Array
    counts: jax.Array
    layers: tuple[str, ...]


@checked
def layer_histograms(every: Count = 100) -> Hook:
    """Count each layer's numbers in fixed bins, at each `every`-th step of the optimizer.

        health/histogram/grads/PATH, .../params/PATH, .../updates/PATH        int32[bins]

    At these steps alone the log has these arrays, with a parameter's path in dots for PATH: the
    gradients as the optimizer gets them, the parameters before the step, and what is added to
    them. Bin i has the numbers from HISTOGRAM_EDGES[i - 1] up to below HISTOGRAM_EDGES[i], see
    `gradtx.loop.histogram`; their sum is the size of the parameter, less what is NaN.

    Args:
        every: optimizer's steps from one count to the next, the first one included.
    """

    def init(state: TrainState) -> HistogramState:
        layers, bins = names_of(state.params), len(HISTOGRAM_EDGES) + 1
        counts = jnp.zeros((len(TREES), len(layers), bins), jnp.int32)
        return HistogramState(jnp.zeros((), jnp.int32), jnp.zeros((), bool), counts, layers)

    def before_batch(state: HistogramState, context: StepContext):
        return (replace(state, taken=jnp.zeros((), bool)) if context.training else state), context

    def after_update(state: HistogramState, context: StepContext):
        made = context.requested < Request.SKIP_STEP
        taken = made & (state.count % every == 0)
        trees = (context.grads, context.params, context.updates)
        leaves = [jax.tree.leaves(tree) for tree in trees]
        now = lambda: jnp.stack([histograms(tree) for tree in leaves])
        counts, updates = at_times(taken, now, state.counts, context.updates)
        count = state.count + made.astype(jnp.int32)
        state = replace(state, count=count, taken=taken, counts=counts)
        return state, context.replace(updates=updates)

    def sampled(state: HistogramState) -> tuple[jax.Array, dict[Any, Any]]:
        names = lambda what: tuple(f"health/histogram/{what}/{name}" for name in state.layers)
        return state.taken, dict(zip(map(names, TREES), state.counts, strict=True))

    on = {"before_batch": before_batch, "after_update": after_update}
    return Hook("layer_histograms", on, init, run_after=EARLIER, requests=False, sampled=sampled)
