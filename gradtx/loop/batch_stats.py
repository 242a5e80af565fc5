"""Running statistics of a model, computed anew from batches: after weights were averaged, say."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.examples import count_examples, has_rows
from gradtx.core.tree import path_name
from gradtx.kinds import checked
from gradtx.loop.calls import call_apply
from gradtx.loop.linen import BATCH_STATS
from gradtx.loop.loop import Loop
from gradtx.loop.prepared import prepared
from gradtx.loop.rows import gathered
from gradtx.loop.sources import are_several, of_epoch, of_validation
from gradtx.loop.state import PyTree, TrainState, context_of
from gradtx.loop.weights import batch_weight, has_weights
from gradtx.parallel.axes import on_automatic

DIGITS = 6  # of a momentum: what float32 has for sure
FAR = 1024.0


@checked
def reestimate_batch_stats(
    loop: Loop,
    state: TrainState,
    batches: Any,
    *,
    stats: str | Callable[[Any], Any] | None = None,
) -> TrainState:
    """Replace the running statistics of batch norms by their exact means over batches.

        stat = sum_i n_i s_i / sum_i n_i        s_i: the statistics of batch i, n_i its examples

    as PyTorch's `torch.optim.swa_utils.update_bn`, which gives all batches the same share. The
    model runs as in training, at `loop.evaluated_params(state)`, and so with the augmentation and
    the dropout of training; nothing is trained, and all else of the state stays.

    It is for parameters that no training step has seen, such as an average: the running statistics
    belong to others then. Put an average that a hook keeps in place first:
    `state.replace(params=averaged_params(state))`.

    No momentum needs to be told. A running statistic is what moves a constant share of the way to
    the batch's, which two other old values show:

        new(old) = m old + (1 - m) s        so  m = (new(old) - new(0)) / old,  s = new(0) / (1 - m)

    Args:
        loop: what was trained; its hooks do not run.
        state: one of it, outside any step.
        batches: training batches, as `fit` takes them; an epoch of them. Examples of weight 0 are
            left out.
        stats: which part of the model's state is looked at: the name of a collection, or a function
            of the model's state to a tree of bools like it. None: "batch_stats" where the model has
            that, as one of Flax linen, else all.

    Raises:
        TypeError: if `batches` are none.
        ValueError: if there are no batches or no running statistics, or what is looked at changes
            in another way, so that it has no mean over batches.

    Source: Izmailov et al. (2018), "Averaging Weights Leads to Wider Optima and Better
    Generalization", section 3.2.
    """
    if not (callable(batches) or are_several(batches)):
        raise TypeError(
            "reestimate_batch_stats: `batches` must be batches, or a function that gives them; got"
            f" {type(batches).__name__}. Pass what `fit` trains on."
        )
    state = on_automatic(state)
    looked_at = _looked_at(state.model_state, stats)
    at = state.replace(params=loop.evaluated_params(state))
    momenta: list[float | None] = []
    mean, total, zeroed = [], 0.0, state.model_state
    run = jax.jit(lambda at, batch, model_state: _run(loop, at, batch, model_state))
    given = of_epoch(batches, 0, 0) if callable(batches) else of_validation(batches)
    for i, batch in enumerate(map(_that_count, map(gathered, given))):
        at_i = at.replace(step=at.step + i)  # each batch has random numbers of its own
        if not momenta:
            momenta = _momenta(loop, at_i, batch, looked_at)
            zeroed = _with(state.model_state, momenta, jnp.zeros_like)
        weight = float(batch_weight(batch, loop.examples))
        if not weight:
            continue
        found = jax.tree.leaves(run(at_i, batch, zeroed))
        own = [x / (1 - m) for x, m in zip(found, momenta, strict=True) if m is not None]
        total += weight
        share = weight / total
        mean = [a + share * (s - a) for a, s in zip(mean, own, strict=True)] if mean else own
    if not total:
        raise ValueError(
            "reestimate_batch_stats: `batches` must have an example that counts; got none. Pass"
            " what `fit` trains on."
        )
    kept = [m for m in momenta if m is not None]
    scales = _scales(state.model_state, kept)
    values = (scale * x for scale, x in zip(scales, mean, strict=True))
    new = _with(state.model_state, momenta, lambda old: next(values).astype(old.dtype))
    return state.replace(model_state=new)


def _looked_at(model_state: PyTree, stats: Any) -> list[bool]:
    """Which leaves of the model's state are looked at."""
    where, named = "reestimate_batch_stats", isinstance(model_state, Mapping)
    if stats is None:
        stats = BATCH_STATS if named and BATCH_STATS in model_state else ""
    floating = [jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(model_state)]
    if callable(stats):
        chosen = jax.tree.leaves(stats(model_state))
        if len(chosen) != len(floating):
            raise ValueError(
                f"{where}: `stats` must return a bool for each leaf of the model's state; got"
                f" {len(chosen)} for {len(floating)}. Map over the state by jax.tree.map."
            )
        return [bool(c) and f for c, f in zip(chosen, floating, strict=True)]
    if stats and not (named and stats in model_state):
        got = sorted(map(str, model_state)) if named else type(model_state).__name__
        raise ValueError(
            f"{where}: the model's state must have a collection {stats!r}; got {got}. Name one of"
            " its own, or leave `stats` out."
        )
    paths = [path for path, _ in jax.tree.leaves_with_path(model_state)]
    return [
        f and (not stats or path_name(path[:1]) == stats)
        for path, f in zip(paths, floating, strict=True)
    ]


def _run(loop: Loop, state: TrainState, batch: Any, model_state: PyTree) -> PyTree:
    """The model's state after a batch, as in training."""
    batch = prepared(loop, state, batch, training=True)
    context = context_of(state.replace(model_state=model_state), training=True, batch=batch)
    return call_apply(loop, context)[1]


def _momenta(
    loop: Loop, state: TrainState, batch: Any, looked_at: list[bool]
) -> list[float | None]:
    """The share of each leaf that is kept from step to step; None for what is no statistic."""
    leaves, structure = jax.tree.flatten(state.model_state)
    paths = [path_name(path) for path, _ in jax.tree.leaves_with_path(state.model_state)]
    chosen = [i for i, wanted in enumerate(looked_at) if wanted]

    @jax.jit
    def after(state: TrainState, batch: Any, values: list[jax.Array]) -> list[jax.Array]:
        own, _ = jax.tree.flatten(state.model_state)
        for i, value in zip(chosen, values, strict=True):
            own[i] = value
        new = _run(loop, state, batch, jax.tree.unflatten(structure, own))
        return [jax.tree.leaves(new)[i] for i in chosen]

    olds = [leaves[i] for i in chosen]
    unmoved = jax.device_get(after(state, batch, olds))
    first = jax.device_get(after(state, batch, [jnp.zeros_like(x) for x in olds]))
    # Far larger than the statistics, so that no digit of the momentum is lost, and another for each
    # entry, so that one that depends on others shows.
    rng = np.random.default_rng(0)
    far = [
        jnp.asarray(
            FAR * max(1.0, float(np.abs(x).max(initial=0))) * rng.uniform(1, 2, x.shape)
        ).astype(old.dtype)
        for x, old in zip(map(np.float64, first), olds, strict=True)
    ]
    moved = jax.device_get(after(state, batch, far))
    found: list[float | None] = [None] * len(leaves)
    for i, old, same, zero, start, end in zip(
        chosen, olds, unmoved, first, far, moved, strict=True
    ):
        if not old.size or np.array_equal(same, old, equal_nan=True):
            continue  # nothing moves it
        shares = (np.float64(end) - np.float64(zero)) / np.float64(start)
        m = float(f"{np.median(shares):.{DIGITS}g}")
        close = 16 * float(jnp.finfo(old.dtype).eps)
        if not (0 < m < 1 and np.allclose(shares, m, rtol=close, atol=close)):
            raise ValueError(
                "reestimate_batch_stats: each statistic must move a constant share of the way to"
                f" the batch's; {paths[i]} of the model's state changes in another way. Name the"
                ' statistics by `stats`; an Equinox BatchNorm must have mode="batch".'
            )
        found[i] = m
    if all(m is None for m in found):
        raise ValueError(
            "reestimate_batch_stats: the model must have running statistics, as a batch norm keeps"
            f" them; got {paths or 'no state at all'}, which stay as they are in training. There is"
            " nothing to estimate."
        )
    return found


def _with(model_state: PyTree, momenta: list[float | None], new: Callable[[Any], Any]) -> PyTree:
    """The model's state with other statistics."""
    leaves, structure = jax.tree.flatten(model_state)
    pairs = zip(leaves, momenta, strict=True)
    return jax.tree.unflatten(structure, [x if m is None else new(x) for x, m in pairs])


def _scales(model_state: PyTree, momenta: list[float]) -> list[float]:
    """What a statistic must be multiplied by to be kept.

    An Equinox BatchNorm keeps (1 - m^count) times its mean, which started at 0, and divides again.
    """
    if not type(model_state).__module__.startswith("equinox."):
        return [1.0] * len(momenta)
    leaves = jax.tree.leaves(model_state)
    counts = {int(x) for x in leaves if x.shape == () and jnp.issubdtype(x.dtype, jnp.integer)}
    if len(counts) > 1:
        raise ValueError(
            "reestimate_batch_stats: the batch norms of an Equinox module must have seen equally"
            f" many batches; got {sorted(counts)}. Train them together."
        )
    (count,) = counts or (0,)
    return [1 - m**count if count else 1.0 for m in momenta]


def _that_count(batch: Any) -> Any:
    """A batch without its examples of weight 0, which would count in its statistics."""
    if not has_weights(batch) or np.all(weight := np.asarray(batch["weight"]) != 0):
        return batch
    count = count_examples(batch)
    return {
        k: jax.tree.map(lambda x: x[weight] if has_rows(x, count) else x, v)
        for k, v in batch.items()
    }
